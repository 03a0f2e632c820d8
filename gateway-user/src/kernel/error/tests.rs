//! Logs as kernels write them, and messages as operators read them.

use std::io;

use aya::{maps::MapError, sys::SyscallError};
use nix::libc;

use super::{Failed, KernelError, Refused, on, verifier::end};

/// Linux 6.18's for a program that reads the fifteenth byte of fourteen.
const LOG: &str = "\
0: R1=ctx() R10=fp0
0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()
1: (61) r2 = *(u32 *)(r1 +0)          ; R1=ctx() R2=pkt(r=0)
2: (61) r3 = *(u32 *)(r1 +4)          ; R1=ctx() R3=pkt_end()
3: (bf) r4 = r2                       ; R2=pkt(r=0) R4=pkt(r=0)
4: (07) r4 += 14                      ; R4=pkt(off=14,r=0)
5: (2d) if r4 > r3 goto pc+3          ; R3=pkt_end() R4=pkt(off=14,r=14)
6: (71) r5 = *(u8 *)(r2 +12)          ; R2=pkt(r=14) R5=scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))
7: (55) if r5 != 0x8 goto pc+1        ; R5=8
8: (71) r5 = *(u8 *)(r2 +14)
invalid access to packet, off=14 size=1, R2(id=0,off=14,r=14)
R2 offset is outside of the packet
verification time 283 usec
stack depth 0
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

/// The same with a buffer of 200 bytes: of a log that is too long this kernel keeps the end.
const CUT: &str = "\
ze=1, R2(id=0,off=14,r=14)
R2 offset is outside of the packet
verification time 28 usec
stack depth 0
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

#[test]
fn the_end_of_a_log_is_the_error_with_what_led_to_it() {
    let told = end(LOG);
    assert!(told[0].starts_with("4: (07) r4 += 14 "), "{told:?}");
    let expected = [
        "8: (71) r5 = *(u8 *)(r2 +14)",
        "invalid access to packet, off=14 size=1, R2(id=0,off=14,r=14)",
        "R2 offset is outside of the packet",
        "processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0",
    ];
    assert_eq!(told[4..], expected);
}

#[test]
fn a_log_of_any_shape_gives_what_it_has() {
    assert!(end("").is_empty());
    assert_eq!(end(CUT).len(), 3, "{:?}", end(CUT));
    // With figures and errors alone, as where no instructions are asked for.
    let brief: String = LOG.lines().skip(10).map(|line| format!("{line}\n")).collect();
    assert_eq!(end(&brief).len(), 3);
    // Before Linux 6.4 the beginning is left of a log that is too long: no error, no figures.
    let begun: String = LOG.lines().take(8).map(|line| format!("{line}\n")).collect();
    assert!(end(&begun).iter().all(|line| line.contains(": (")), "{:?}", end(&begun));
    let no_callbacks =
        "callbacks are not allowed in non-JITed programs\nprocessed 76000 insns (limit 1000000)\n";
    assert_eq!(end(no_callbacks).len(), 2);
}

#[test]
fn states_and_searches_are_left_out_and_the_function_is_told() {
    let log = "\
Validating gateway() func#0...
0: R1=ctx(off=0,imm=0) R10=fp0
; judge(&context, &frame) @ main.rs:40
0: (bf) r6 = r1                       ; R1=ctx(off=0,imm=0) R6_w=ctx(off=0,imm=0)
Validating tls() func#7...
from 12 to 20: R0=inv0 R10=fp0
 R0_w=invP0 R10=fp0
20: (0f) r3 += r2
last_idx 20 first_idx 12
regs=4 stack=0 before 19: (61) r2 = *(u32 *)(r2 +0)
R3 pointer arithmetic on pkt_end prohibited
processed 29010 insns (limit 1000000) max_states_per_insn 13
";
    let expected = [
        "Validating tls() func#7...",
        "0: (bf) r6 = r1                       ; R1=ctx(off=0,imm=0) R6_w=ctx(off=0,imm=0)",
        "20: (0f) r3 += r2",
        "R3 pointer arithmetic on pkt_end prohibited",
        "processed 29010 insns (limit 1000000) max_states_per_insn 13",
    ];
    assert_eq!(end(log), expected);
    let long = format!("1: (bf) r1 = r2 ; {}\n", "ä".repeat(400));
    assert_eq!(end(&long)[0].chars().count(), 164);
}

#[test]
fn a_refused_program_is_told_by_errno_and_last_lines() {
    let error = io::Error::from_raw_os_error(libc::EACCES);
    let refused = KernelError::from(Refused::new("gateway_frags", &error, LOG));
    let text = refused.to_string();
    let first = text.lines().next().unwrap();
    assert!(first.contains("`gateway_frags`: BPF_PROG_LOAD: EACCES (Permission denied); "), "{first}");
    assert!(text.contains("\n  R2 offset is outside of the packet\n  processed 9 insns"), "{text}");
    assert!(!text.contains("R1=ctx() R10=fp0"), "not the first lines: {text}");
    let (found, remedy) = refused.told();
    assert!(found.contains("processed 9 insns"), "{found}");
    assert!(remedy.unwrap().contains("docs/kernels.md"));
}

#[test]
fn a_failed_call_is_told_by_map_call_and_errno() {
    let error = |code| io::Error::from_raw_os_error(code);
    let made = MapError::CreateError { name: "strikes".into(), io_error: error(libc::EINVAL) };
    let text = KernelError::from(made).to_string();
    assert!(
        text.starts_with("cannot make map `strikes`: BPF_MAP_CREATE: EINVAL (Invalid argument); "),
        "{text}"
    );
    let call = SyscallError { call: "bpf_map_update_elem", io_error: error(libc::E2BIG) };
    let text = on("PREFIXES_V6")(MapError::SyscallError(call)).to_string();
    assert!(
        text.starts_with(
            "cannot use map `PREFIXES_V6`: bpf_map_update_elem: E2BIG (Argument list too long); "
        )
    );
    let failed = Failed::new("attach", "bpf_link_update", &error(libc::EBUSY)).to_string();
    assert!(failed.starts_with("cannot attach: bpf_link_update: EBUSY ("), "{failed}");
    let (found, remedy) = KernelError::NoMap("bans").told();
    assert!(found.ends_with("has no map `bans`") && remedy.unwrap().contains("cargo xtask run"));
}
