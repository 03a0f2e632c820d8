//! Against the kernel. What changes something needs root, and happens in a network namespace of its own.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use aya::Ebpf;
use aya::programs::{Xdp, XdpMode, links::FdLink};
use nix::sched::{CloneFlags, setns};

use super::{Attached, Interface, Mode, NetError, detach_xdp, features, interface, interfaces};

const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/lab.bpf.o");

#[test]
fn the_loopback_is_found_without_privilege() {
    let found = interface("lo").unwrap();
    assert_eq!((found.name.as_str(), found.index, found.driver.as_deref()), ("lo", 1, None));
    assert!(found.mtu > 0);
    assert!(interfaces().unwrap().contains(&found));
}

#[test]
fn an_unknown_interface_names_those_there_are() {
    for name in ["l0", "", "much-too-long-a-name", "nul\0name"] {
        let error = interface(name).unwrap_err();
        assert!(matches!(&error, NetError::Unknown { .. }), "{name}: {error}");
        assert!(error.help().unwrap().contains("lo"), "{name}");
    }
    let near = NetError::unknown("eht0", vec!["lo".into(), "eth0".into()]);
    assert_eq!(near.to_string(), "there is no interface `eht0`");
    assert_eq!(near.help().unwrap(), "did you mean `eth0`? there are: lo, eth0");
}

/// A namespace with the veth pair `gw0`, `gw1`; removed at the end.
struct Namespace(String);

impl Namespace {
    fn new(label: &str) -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("gwnet-{label}-{}-{nanos}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self(name);
        ip(&["-n", &namespace.0, "link", "add", "gw0", "type", "veth", "peer", "name", "gw1"]);
        namespace
    }

    /// Does the work inside, on a thread of its own.
    fn enter(&self, work: impl FnOnce() + Send) {
        let file = std::fs::File::open(Path::new("/run/netns").join(&self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                work();
            });
            thread.join().unwrap();
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root (`cargo xtask test` asks for it)");
}

/// The lab's object.
fn object() -> Ebpf {
    Ebpf::load_file(OBJECT).unwrap_or_else(|error| panic!("{OBJECT}: {error} (`cargo xtask ebpf` builds it)"))
}

fn program(ebpf: &mut Ebpf) -> &mut Xdp {
    let program: &mut Xdp = ebpf.program_mut("pass").unwrap().try_into().unwrap();
    program.load().unwrap();
    program
}

fn id(program: &Xdp) -> u32 {
    program.info().unwrap().id()
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_veth_is_described() {
    require_root();
    Namespace::new("veth").enter(|| {
        let Interface { index, up, driver, mtu, lower, xdp, .. } = interface("gw0").unwrap();
        assert_eq!((up, driver.as_deref(), mtu, xdp), (false, Some("veth"), 1500, None));
        assert_eq!(lower, Some(interface("gw1").unwrap().index));
        assert_eq!(interfaces().unwrap().len(), 3);
        if let Some(features) = features(index).unwrap() {
            assert!(features.native);
        }
        detach_xdp(index, Mode::Multi).unwrap_or_else(|error| panic!("nothing to take off: {error}"));
        assert!(matches!(detach_xdp(9999, Mode::Native), Err(NetError::Refused { .. })));
    });
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_program_attached_by_netlink_is_seen_and_taken_off() {
    require_root();
    let namespace = Namespace::new("netlink");
    for (word, mode) in [("xdpdrv", Mode::Native), ("xdpgeneric", Mode::Generic)] {
        let pin = format!("/sys/fs/bpf/{}", namespace.0);
        let mut ebpf = object();
        let program = program(&mut ebpf);
        program.pin(&pin).unwrap();
        namespace.enter(|| ip(&["link", "set", "dev", "gw0", word, "pinned", &pin]));
        std::fs::remove_file(&pin).unwrap();
        namespace.enter(|| {
            let found = interface("gw0").unwrap();
            assert_eq!(found.xdp, Some(Attached { program_id: id(program), mode }));
            detach_xdp(found.index, mode).unwrap();
            assert_eq!(interface("gw0").unwrap().xdp, None);
        });
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_program_held_by_a_link_is_named_and_stays() {
    require_root();
    Namespace::new("link").enter(|| {
        let mut ebpf = object();
        let program = program(&mut ebpf);
        let link = program.attach("gw0", XdpMode::Driver).unwrap();
        let _link = FdLink::try_from(program.take_link(link).unwrap()).unwrap();
        let found = interface("gw0").unwrap();
        let error = detach_xdp(found.index, Mode::Native).unwrap_err();
        assert!(matches!(&error, NetError::HeldByLink { .. }), "{error}");
        assert!(error.help().unwrap().contains("bpftool link detach"));
        assert_eq!(
            interface("gw0").unwrap().xdp,
            Some(Attached { program_id: id(program), mode: Mode::Native })
        );
    });
}
