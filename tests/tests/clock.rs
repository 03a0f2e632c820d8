//! Somebody sets the clock under a running daemon.

mod machine {
    use std::thread;
    use std::time::Duration;

    use anyhow::{Result, ensure};
    use gateway_tests::lab::{Gateway, Lab, alone, await_that, require_lab};
    use nix::sys::time::{TimeSpec, TimeValLike as _};
    use nix::time::{ClockId, clock_gettime, clock_settime};

    const PATIENCE: Duration = Duration::from_secs(30);
    /// What is due by a span has this one.
    const SPAN: &str = "8s";
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    /// Sets the clock by so many seconds.
    fn step(seconds: i64) -> Result<()> {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        Ok(clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::seconds(seconds))?)
    }

    /// A clock that goes on as if nobody had set it: it is put right at the end.
    struct Stepped(i64);

    impl Drop for Stepped {
        fn drop(&mut self) {
            let _ = step(-self.0);
        }
    }

    /// A host without a battery starts decades ago, or one whose battery is wrong decades ahead, until somebody sets its clock.
    #[test]
    #[ignore = "needs root: `cargo xtask test` runs it"]
    fn a_start_at_any_time_protects() -> Result<()> {
        require_lab();
        let _alone = alone();
        for seconds in [-55 * 365 * DAY, 200 * 365 * DAY] {
            let lab = Lab::new()?;
            step(seconds)?;
            let stepped = Stepped(seconds);
            let gateway = Gateway::start(&lab, "mode = \"enforce\"\n[lists]\nblock = [\"192.0.2.99\"]\n")?;
            gateway.done(&["block", "add", "192.0.2.97", "--for", "1h"])?;
            drop(stepped);
            thread::sleep(Duration::from_secs(2));
            let blocked = gateway.done(&["block", "list"])?;
            ensure!(
                blocked.contains("192.0.2.97") && blocked.contains("192.0.2.99"),
                "{seconds} s: {blocked}"
            );
            println!("clock: a start {seconds} s away, and set right: what has an hour left holds");
        }
        Ok(())
    }

    /// What ends after a span ends when it would have, whoever sets the clock, and in whichever direction; what has an hour left holds.
    #[test]
    #[ignore = "needs root: `cargo xtask test` runs it"]
    fn what_ends_after_a_span_goes_by_no_clock_that_is_set() -> Result<()> {
        require_lab();
        let _alone = alone();
        for seconds in [-DAY, -40 * HOUR, 2 * HOUR, 300 * DAY] {
            let lab = Lab::new()?;
            let mut gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
            gateway.done(&["block", "add", "192.0.2.97", "--for", "1h"])?;
            gateway.done(&["block", "add", "192.0.2.98", "--for", SPAN])?;
            gateway.done(&["allow", "add", "192.0.2.96", "--for", "1h"])?;
            gateway.done(&["limit", "set", "default", "syn", "7/s", "--for", SPAN])?;
            gateway.done(&["mode", "monitor", "--for", SPAN])?;
            step(seconds)?;
            let _stepped = Stepped(seconds);
            thread::sleep(Duration::from_secs(2));
            let holds = |verb: &[&str], text: &str| anyhow::Ok(gateway.done(verb)?.contains(text));
            let mode = || holds(&["status"], "Mode     monitor");
            let short = || holds(&["block", "list"], "192.0.2.98");
            let limit = || holds(&["limit", "list"], "7/s");
            ensure!(mode()? && short()? && limit()?, "{seconds} s: what has seconds left is over");
            await_that("what had seconds left is over", PATIENCE, || Ok(!mode()? && !short()? && !limit()?))?;
            let long = || {
                Ok::<_, anyhow::Error>(
                    holds(&["block", "list"], "192.0.2.97")? && holds(&["allow", "list"], "192.0.2.96")?,
                )
            };
            ensure!(long()?, "{seconds} s: what has an hour left is over");
            gateway.kill()?;
            gateway.run()?;
            let blocked = gateway.done(&["block", "list"])?;
            ensure!(
                blocked.contains("192.0.2.97"),
                "{seconds} s: after a restart what has an hour left is over: {blocked}"
            );
            println!("clock: set by {seconds} s: what ends after a span ends when it would have");
        }
        Ok(())
    }
}
