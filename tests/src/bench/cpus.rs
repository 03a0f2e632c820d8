//! Two CPUs that judge packets of one source at once, beside one: how many packets both manage, and whether the limit holds.
//!
//! A generator would want a CPU of its own, so both run `BPF_PROG_TEST_RUN`, each in a thread of its own. The program is
//! attached to a loopback interface that nobody uses: a program that is attached nowhere the kernel makes known to its
//! dispatcher in each run, which takes it longer than some runs do, and holds up the other one.

use std::ops::Range;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use aya::programs::Xdp;
use gateway_common::{
    limit::rate::{Dimension, Limit},
    verdict::{Action, Reason},
};
use gateway_tests::builder::ip;
use gateway_tests::cases::{Draft as _, SERVER, limit};
use gateway_tests::kernel::apply;
use gateway_tests::lab::{Namespace, THIS_THREAD, pin};
use gateway_user::host::Stand;
use gateway_user::kernel::attach::{Attachment, Driver};
use gateway_user::kernel::{Kernel, Program};
use serde_json::{Value, json};

use crate::{
    spread::Spread,
    subject::{Baseline, gateway, test_run},
};

/// Frames of a run, on each CPU.
const FRAMES: u32 = 2_000_000;
/// How many times as much two CPUs shall manage.
const BAR: f64 = 1.6;
/// The limit that is to be exact, how many seconds for, and by how much, in percent.
const RATE: u64 = 1_000_000;
const BURST: u64 = 10_000;
const SECONDS: f64 = 10.0;
const EXACT: f64 = 0.1;
/// The loopback interface of every namespace.
const LOOPBACK: u32 = 1;
/// The two sources.
const SOURCES: [&str; 2] = ["192.0.2.77", "203.0.113.78"];

/// What judges.
enum Judge {
    /// A program of the lab's.
    Lab(&'static str),
    /// The gateway under a policy.
    Gateway(Box<Stand>),
}

struct Case {
    name: &'static str,
    judge: Judge,
    /// Whether each CPU has a source of its own.
    apart: bool,
    /// Whether it is a figure with a bar.
    barred: bool,
}

impl Case {
    const fn new(name: &'static str, judge: Judge) -> Self {
        Self { name, judge, apart: false, barred: false }
    }

    fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    fn barred(self) -> Self {
        Self { barred: true, ..self }
    }
}

fn cases() -> [Case; 9] {
    let gateway = |stand: Stand| Judge::Gateway(Box::new(stand));
    let one = || gateway(Stand::new().each(Dimension::Packets, ample(Dimension::Packets)));
    let over = || gateway(Stand::new().each(Dimension::Packets, limit(Dimension::Packets, 10, 10)));
    let many = || {
        let each = [Dimension::Packets, Dimension::Bytes, Dimension::Udp];
        let stand =
            each.into_iter().fold(Stand::new(), |stand, dimension| stand.each(dimension, ample(dimension)));
        gateway(stand.neighbours(Dimension::Packets, ample(Dimension::Packets)))
    };
    [
        Case::new("bare XDP_DROP", Judge::Lab("drop")),
        Case::new("two sources, dropped: over their limits", over()).apart(),
        Case::new("two sources, admitted: one budget each", one()).apart(),
        Case::new("two sources, admitted: 4 budgets each", many()).apart(),
        Case::new("one source, dropped: over its limit", over()).barred(),
        Case::new("one source, admitted: one budget", one()).barred(),
        Case::new("one source, admitted: 4 budgets", many()).barred(),
        Case::new("one word, compare-and-swap and nothing else", Judge::Lab("contend_swap")),
        Case::new("one word, atomic addition and nothing else", Judge::Lab("contend_add")),
    ]
}

/// More than test runs can use up.
fn ample(dimension: Dimension) -> Limit {
    let rate = if dimension == Dimension::Bytes { 10_000_000_000 } else { 100_000_000 };
    limit(dimension, rate, rate)
}

/// Measures in so many rounds, prints, and gives the figures for the file.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "Two CPUs beside one, BPF_PROG_TEST_RUN, {rounds} rounds of {FRAMES} frames on each, millions of packets a second"
    );
    println!("{:48}{:>20}{:>20}{:>22}", "", "one CPU", "two CPUs", "times");
    let cases = cases();
    let namespace = Namespace::new("cpus")?;
    let mut kernel = gateway(vec![LOOPBACK])?;
    let mut measured: Vec<[Vec<f64>; 3]> = cases.iter().map(|_| Default::default()).collect();
    // Round by round, so that what the machine does meanwhile falls on all alike; the first is the warm-up.
    for round in 0..=rounds {
        for (case, measured) in cases.iter().zip(&mut measured) {
            let [one, two] = match &case.judge {
                Judge::Lab(name) => {
                    let mut lab = Baseline::load(name)?;
                    lab.attach(&namespace, "lo")?;
                    case.sample(lab.program()?)?
                }
                Judge::Gateway(stand) => {
                    apply(&mut kernel, stand)?;
                    let _attached = attach(&mut kernel, &namespace)?;
                    case.sample(kernel.program(Program::Plain)?)?
                }
            };
            if round != 0 {
                let figures = [one, two, two / one];
                measured.iter_mut().zip(figures).for_each(|(all, figure)| all.push(figure));
            }
        }
    }
    let mut rows: Vec<Value> =
        cases.iter().zip(measured).map(|(case, measured)| case.row(measured)).collect();
    rows.push(exactness(&mut kernel, &namespace)?);
    println!();
    Ok(Value::Array(rows))
}

/// Puts the gateway on the loopback interface.
fn attach(kernel: &mut Kernel, namespace: &Namespace) -> Result<Attachment> {
    Ok(namespace.enter(|| kernel.attach("lo", LOOPBACK, Program::Plain, Driver::Generic, None))??)
}

impl Case {
    /// Millions of packets a second: of one CPU, the mean of both, and of both at once.
    fn sample(&self, program: &Xdp) -> Result<[f64; 2]> {
        let [first, second] = SOURCES.map(frame);
        let frames = [first.as_slice(), if self.apart { &second } else { &first }];
        // What a source's first packets find is another thing.
        run(program, frames[0], 1_000, 0)?;
        run(program, frames[1], 1_000, 1)?;
        let alone = run(program, frames[0], FRAMES, 0)? + run(program, frames[1], FRAMES, 1)?;
        Ok([2e3 / alone, 2e3 / both(program, frames, FRAMES)?])
    }

    fn row(&self, measured: [Vec<f64>; 3]) -> Value {
        let [one, two, times] = measured.map(Spread::of);
        let told = match times.median >= BAR {
            _ if !self.barred => String::new(),
            true => format!("   at least {BAR}: holds"),
            false => format!("   at least {BAR}: MISSED"),
        };
        println!("{:48}{:>20}{:>20}{:>22}{told}", self.name, one.text(1), two.text(1), times.text(2));
        let bar = self.barred.then_some(BAR);
        json!({ "case": self.name, "one_mpps": one.json(), "two_mpps": two.json(), "times": times.json(), "bar": bar })
    }
}

fn frame(source: &str) -> Vec<u8> {
    ip(source, SERVER).udp(40_000, 53).payload(b"a question of 18 b").build()
}

/// Nanoseconds a frame on one CPU.
fn run(program: &Xdp, frame: &[u8], repeat: u32, cpu: usize) -> Result<f64> {
    let barrier = Barrier::new(1);
    let ended = thread::scope(|scope| scope.spawn(|| timed(program, frame, repeat, cpu, &barrier)).join());
    let Range { start, end } = ended.map_err(|_| anyhow!("the run panicked"))??;
    Ok((end - start).as_nanos() as f64 / f64::from(repeat))
}

/// The same on both at once, from the start of the first to the end of the last.
fn both(program: &Xdp, frames: [&[u8]; 2], repeat: u32) -> Result<f64> {
    let barrier = Barrier::new(2);
    let [first, second] = thread::scope(|scope| {
        let threads = [0, 1].map(|cpu| {
            let (barrier, frame) = (&barrier, frames[cpu]);
            scope.spawn(move || timed(program, frame, repeat, cpu, barrier))
        });
        threads.map(|thread| thread.join().map_err(|_| anyhow!("a run panicked"))?)
    });
    let (first, second) = (first?, second?);
    let together = first.end.max(second.end) - first.start.min(second.start);
    Ok(together.as_nanos() as f64 / f64::from(repeat))
}

/// When this thread ran, which goes to that CPU and begins with the others.
fn timed(program: &Xdp, frame: &[u8], repeat: u32, cpu: usize, barrier: &Barrier) -> Result<Range<Instant>> {
    let pinned = pin(THIS_THREAD, cpu);
    // Others wait for this thread, whatever became of it.
    barrier.wait();
    pinned?;
    let start = Instant::now();
    test_run(program, frame, repeat)?;
    Ok(start..Instant::now())
}

/// What a limit admits of one source that both CPUs judge, beside `rate * t + burst`.
fn exactness(kernel: &mut Kernel, namespace: &Namespace) -> Result<Value> {
    apply(kernel, &Stand::new().each(Dimension::Packets, limit(Dimension::Packets, RATE, BURST)))?;
    let _attached = attach(kernel, namespace)?;
    let admitted =
        |kernel: &Kernel| kernel.tallies(0).map(|tallies| tallies(Action::Pass, Reason::Ok).packets);
    let frame = frame("198.51.100.79");
    let frames = [frame.as_slice(), &frame];
    let repeat = SECONDS * 1e9 / both(kernel.program(Program::Plain)?, frames, FRAMES)?;
    // Until its bucket is full again.
    thread::sleep(Duration::from_millis(BURST * 2_000 / RATE));
    let before = admitted(kernel)?;
    let took = both(kernel.program(Program::Plain)?, frames, repeat as u32)? * repeat / 1e9;
    let admitted = (admitted(kernel)? - before) as f64;
    let expected = RATE as f64 * took + BURST as f64;
    let off = (admitted / expected - 1.0) * 100.0;
    let told = if off.abs() < EXACT { "holds" } else { "MISSED" };
    println!(
        "one source at {RATE}/s: {admitted:.0} of {:.0} admitted in {took:.3} s, {off:+.3} %; within {EXACT} %: {told}",
        repeat * 2.0
    );
    ensure!(admitted <= expected * 1.000_1, "more was admitted than the limit says");
    Ok(json!({ "case": "exactness of one source's limit", "off_percent": off, "bar": EXACT }))
}
