//! Which of the program's helpers this kernel lacks, found by trying them.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};

/// The newest that the program calls, and the Linux that they came with; docs/kernels.md has all.
const NEWEST: [(BpfHelper, &str, &str); 4] = [
    (BpfHelper::BPF_FUNC_loop, "bpf_loop", "5.17"),
    (BpfHelper::BPF_FUNC_xdp_get_buff_len, "bpf_xdp_get_buff_len", "5.18"),
    (BpfHelper::BPF_FUNC_xdp_load_bytes, "bpf_xdp_load_bytes", "5.18"),
    (BpfHelper::BPF_FUNC_tcp_raw_check_syncookie_ipv4, "bpf_tcp_raw_check_syncookie_ipv4", "6.0"),
];

/// Those that are not there, as `bpf_loop (Linux 5.17)`. One that could not be tried counts as there.
pub(super) fn missing() -> Vec<String> {
    let lacks = |helper| is_helper_supported(ProgramType::Xdp, helper).is_ok_and(|is_there| !is_there);
    let lacking = NEWEST.into_iter().filter(|(helper, ..)| lacks(*helper));
    lacking.map(|(_, name, since)| format!("{name} (Linux {since})")).collect()
}
