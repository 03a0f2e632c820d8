//! Pins that a start does not find where they were.

use anyhow::{Result, ensure};
use gateway_tests::lab::{Gateway, Lab, alone, require_lab};
use gateway_user::net;
use nix::mount::{MsFlags, mount, umount};

/// Somebody mounts a bpffs above ours while the daemon is down: the next one knows its program, goes on with what is known, and takes it off
/// at its end, although the hidden pins hold it, too.
#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn hidden_pins_are_made_again() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    gateway.kill()?;
    mount(Some("bpf"), gateway.pins(), Some("bpf"), MsFlags::empty(), Some("mode=0700"))?;
    let outcome = (|| {
        let doctor = lab.server.enter(|| gateway.cli(&["doctor", lab.client_side()]))??;
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        ensure!(doctor.contains("its pin is hidden"), "{doctor}");
        gateway.run()?;
        let status = gateway.done(&["status"])?;
        for interface in lab.interfaces() {
            let told = format!("{interface}: the pins of the gateway's own program were hidden");
            ensure!(status.contains(&told), "{status}");
        }
        let log = gateway.log();
        ensure!(log.contains("tables of the last run taken over"), "{log}");
        gateway.done(&["stop"])?;
        for interface in lab.interfaces() {
            let on_it = lab.server.enter(|| net::interface(interface))??.xdp;
            ensure!(on_it.is_none(), "{interface} still has {on_it:?}");
        }
        gateway.kill()
    })();
    umount(gateway.pins())?;
    outcome?;
    // What was hidden is there again, and of no use.
    gateway.run()?;
    let status = gateway.done(&["status"])?;
    ensure!(!status.contains("hidden"), "{status}");
    Ok(())
}
