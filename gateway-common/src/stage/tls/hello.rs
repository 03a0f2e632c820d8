//! Reads the first messages of services that ask for more than a stream's prefix shows: a PROXY protocol header before
//! it, a TLS version, a server's name.
//!
//! Such a message is read in the order of the stream: a segment that leaves a gap is dropped, and TCP sends it again.
//! The prefix is still judged as for every gated service, but behind a PROXY header, whose length only the reader
//! knows.

use core::ops::ControlFlow;

use crate::{
    abi::{NAMES, Service},
    env::{Context, Found},
    frame::{Frame, Task},
    hash::{Key, Running},
    packet::Packet,
    stage::{
        packet_state::PacketState,
        subprog::{Program, Subprog},
        tls::{
            adopt, find, first, note, pass_through, prove, refuse,
            state::{Gate, Stream},
            stream_sequence, touches, unseen,
        },
    },
    state::{
        conntrack::{ConnState, Phase},
        partial_hellos,
    },
    verdict::{Reason, Step, drop},
    wire::{
        hello::{Outcome, Reader, want},
        tls::{MINOR_MIN, PREFIX},
    },
};

/// Where a segment stands in the first message of its connection.
#[derive(Clone, Copy)]
struct Position {
    /// A reader of the message was kept, and is resumed.
    is_kept: bool,
    /// The segment's first byte in the stream; below 0 for a keep-alive.
    start: i32,
    /// The message was read whole before, and the segment starts behind it.
    is_later: bool,
}

/// Judges a segment with data to such a service.
#[inline(always)]
pub fn check<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    if !locate(frame, context, state)? {
        return Step::Continue(());
    }
    let Some(position) = resume(frame, context, state)? else { return Step::Continue(()) };
    if !position.is_later && !read_on(frame, context, state, position)? {
        return Step::Continue(());
    }
    conclude(frame, context, state, position)
}

/// Finds the stream that a segment belongs to, and what is known of it. False: there is nothing to read.
#[inline(always)]
fn locate<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step<bool> {
    let PacketState { packet, role, conn, .. } = state;
    let (service, known) = (context.settings.service(role.service), conn.known);
    if known.is_proven() && !touches(packet, known.base, first(service)) {
        prove(frame, context, state, known.base);
        return Step::Continue(false);
    }
    find(frame, context, state)?;
    let PacketState { packet, conn, gate: Gate { stream, .. }, asked, .. } = state;
    let Stream { base, received, is_old, is_ours, .. } = *stream;
    if !is_ours && conn.known.is_unknown() {
        unseen(frame, state)?;
        return Step::Continue(false);
    }
    if stream.is_open && received != 0 && asked.has_cookie && stream_sequence(packet) == base {
        // The SYN cookie that made the connection, once more: if the connection is about to end, the cookie makes the
        // next.
        return drop(Reason::HelloGap);
    }
    conn.next = conn.known.of_stream(base, context.now);
    if stream.is_open {
        conn.next = conn.next.met();
    }
    if received == 0 && !is_old {
        conn.next = conn.next.not_accepted();
    }
    context.env.barrier(state);
    Step::Continue(true)
}

/// Resumes the reader of the message, and judges the stream's first bytes. Nothing where the message is accepted
/// already.
#[inline(always)]
fn resume<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
) -> Step<Option<Position>> {
    let (env, now) = (context.env, context.now);
    let service = context.settings.service(state.role.service);
    let PacketState { conn, gate: Gate { reader, stream, .. }, .. } = state;
    let (stream, known) = (*stream, conn.known);
    let Stream { base, received, is_old, .. } = stream;
    let is_past = received >= u64::from(PREFIX);
    let is_proxied = E::barrier_var(u64::from(service.wants)) & u64::from(want::PROXY) != 0;
    let is_kept = partial_hellos::resume(env, conn.identity, base, reader);
    let is_accepted = if stream.is_ours {
        // What was seen of a message counts for nothing before the host's TCP has all of it.
        let is_taken = !is_kept || (reader.done != 0 && received >= u64::from(reader.done));
        is_past && conn.next.is_accepted() && is_taken
    } else {
        conn.next.is_forwarded()
    };
    env.barrier(state);
    if !is_kept && known.is_unknown() && was_open_before(known, received, service) {
        adopt(frame, context, state, base);
        return Step::Continue(None);
    }
    if !(is_proxied || is_old && is_past) {
        let judged = env.call(Subprog::JudgePrefix, frame, context, state);
        if let ControlFlow::Break(reason) = judged {
            refuse(frame, context, state, reason, is_old);
            return drop(reason);
        }
    }
    if is_accepted {
        if is_past && !is_old && !known.is_doubtful(now) {
            prove(frame, context, state, base);
            if is_kept {
                partial_hellos::forget(env, state.conn.identity);
            }
        } else {
            if !stream.is_ours {
                pass_through(state);
            }
            state.gate.goes_on = is_past && !is_old;
            note(frame, context, state, is_old);
        }
        return Step::Continue(None);
    }
    let PacketState { packet, conn, gate: Gate { reader, .. }, .. } = state;
    // Not before all of the message was read.
    conn.next.phase = Phase::Opening;
    let start = stream_sequence(packet).wrapping_sub(base) as i32;
    let is_later = is_kept && reader.done != 0 && start >= reader.done as i32;
    Step::Continue(Some(Position { is_kept, start, is_later }))
}

/// Reads what a segment adds to the message. False: the host's TCP has all of the segment, and takes nothing of it.
#[inline(always)]
fn read_on<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
    Position { is_kept, start, .. }: Position,
) -> Step<bool> {
    let wants = context.settings.service(state.role.service).wants;
    let PacketState { packet, gate: Gate { reader, stream, .. }, .. } = state;
    let Stream { received, is_old, is_ours, .. } = *stream;
    if is_kept && !is_old && has_all(received, start, packet.payload_length) {
        return Step::Continue(false);
    }
    if !is_kept || (!is_ours && start <= 0) {
        if received != 0 {
            return drop(Reason::HelloGap);
        }
        reader.start(wants as u8);
    } else if is_ours && start as u32 != reader.position && received < u64::from(reader.position) {
        context.env.call(Subprog::VerifyHello, frame, context, state)?;
    }
    let PacketState { packet, gate: Gate { reader, .. }, .. } = state;
    turn_to(packet, reader, start, context.env.key())?;
    context.env.call(Subprog::ReadHello, frame, context, state)?;
    Step::Continue(true)
}

/// Judges what was read so far, and keeps it.
#[inline(always)]
fn conclude<F: Frame, E: Program>(
    frame: &F,
    context: &Context<'_, E>,
    state: &mut PacketState,
    Position { is_later, .. }: Position,
) -> Step {
    let service = context.settings.service(state.role.service);
    let PacketState { conn, gate: Gate { reader, stream, is_open, .. }, victim, .. } = state;
    let Stream { is_old, is_ours, .. } = *stream;
    match reader.outcome {
        Outcome::Incomplete if may_pass_incomplete(reader, is_later) => {}
        Outcome::Incomplete => return drop(Reason::HelloGap),
        Outcome::Complete => {
            accept(frame, service, reader)?;
            if reader.done != 0 && reader.done != reader.position {
                // What follows the first one may be there already.
                return drop(Reason::HelloGap);
            }
        }
        Outcome::NoProxy | Outcome::BadProxy => return drop(Reason::ProxyHeader),
        Outcome::NoHello => return drop(Reason::NotTls),
        Outcome::BadHello => return drop(Reason::HelloMalformed),
    }
    let is_whole = reader.done != 0 || matches!(reader.outcome, Outcome::Complete);
    if is_whole {
        conn.next = conn.next.accepted();
        conn.next.phase = Phase::Forwarded;
    }
    if is_whole && !is_ours {
        partial_hellos::forget(context.env, conn.identity);
    } else if !partial_hellos::keep(context.env, conn, *is_open, reader, context.now, victim) {
        return drop(Reason::HelloGap);
    }
    note(frame, context, state, is_old);
    Step::Continue(())
}

/// Whether a segment may pass after which the message is not whole.
///
/// While a message is read for the first time, it may. Once it was whole (`reader.done`), the host's TCP may still lack
/// parts of it, and the segment is another copy of some part. The attack: a client sends a good message whole, a part
/// of it gets lost behind the gateway, and the client sends other bytes for that part alone. So such a segment passes
/// in two cases only: it lies behind the message, or it holds everything from the message's start up to its last
/// segment, byte for byte as before ([`Reader::is_back`]). Of any other part the gateway does not know what TCP has of
/// the rest.
#[inline(always)]
fn may_pass_incomplete(reader: &Reader, is_later: bool) -> bool {
    reader.done == 0 || is_later || reader.is_back()
}

/// Whether a connection that nothing is known of was open before the gateway came.
///
/// That is sure where nobody was forgotten. Else it goes by what the host's TCP has taken: more than a PROXY header can
/// have, or a prefix, which was judged when it came.
#[inline(always)]
fn was_open_before(known: ConnState, received: u64, service: &Service) -> bool {
    received != 0 && (received >= u64::from(first(service)) || known.was_never_evicted())
}

/// Reads what the segment adds to the message.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, state: &mut PacketState) -> Step {
    state.gate.reader.read(frame);
    Step::Continue(())
}

/// Whether the host's TCP has all of a segment, so that it takes nothing of it.
#[inline(always)]
const fn has_all(received: u64, start: i32, length: u32) -> bool {
    (start as i64 + length as i64) <= received as i64
}

/// Reads a message again from its start, up to where its reader was resumed, of which TCP may not have all yet. It must
/// stand there as it stood before: then it does not matter which copy TCP takes.
#[inline(always)]
pub fn verify<F: Frame, E: Program>(frame: &F, context: &Context<'_, E>, state: &mut PacketState) -> Step {
    let PacketState { packet, gate: Gate { reader, .. }, conn, role, asked, .. } = &mut *state;
    let before = conn.next.base.wrapping_sub(stream_sequence(packet));
    if (before as i32) < 0 {
        return drop(Reason::HelloGap);
    }
    let wants = context.settings.service(role.service).wants as u8;
    // Where the handshake's ACK was not taken, neither was what came behind it.
    if matches!(asked.found, Found::Request | Found::Listener) && partial_hellos::is_over(reader, context.now)
    {
        reader.start(wants);
        return Step::Continue(());
    }
    let (position, done) = (reader.position, reader.done);
    if packet.payload_length < before.wrapping_add(position) {
        return drop(Reason::HelloGap);
    }
    reader.restart(wants, done);
    reader.turn_to(packet.payload.wrapping_add(before), position, context.env.key());
    context.env.call(Subprog::ReadHello, frame, context, state)?;
    if state.gate.reader.is_back() { Step::Continue(()) } else { drop(Reason::HelloGap) }
}

/// Turns to what a segment adds; `start` is its place in the stream, below 0 for a keep-alive.
#[inline(always)]
fn turn_to(packet: &Packet, reader: &mut Reader, start: i32, key: Key) -> Step {
    let position = reader.position as i32;
    let end = start.wrapping_add(packet.payload_length as i32);
    if start > position {
        return drop(Reason::HelloGap);
    }
    let known = if end > position { position.wrapping_sub(start) as u32 } else { packet.payload_length };
    reader.turn_to(packet.payload.wrapping_add(known), packet.payload_length.wrapping_sub(known), key);
    Step::Continue(())
}

/// Judges what a hello says.
#[inline(always)]
fn accept<F: Frame>(frame: &F, service: &Service, reader: &Reader) -> Step {
    if reader.minor < MINOR_MIN || u32::from(reader.minor) < service.min_minor {
        return drop(Reason::TlsVersion);
    }
    if service.all_names != 0 && !is_named(frame, service, reader) {
        return drop(Reason::ServerName);
    }
    Step::Continue(())
}

/// Whether a service has the name. A function of its own in the kernel: its stack is added to its caller's alone.
#[inline(never)]
fn is_named<F: Frame>(frame: &F, service: &Service, reader: &Reader) -> bool {
    if reader.wants & want::NAME != 0 {
        return false;
    }
    // A name that starts with its dot has no first label for the star.
    let parent = if reader.parent == reader.name { Running::default() } else { reader.parent };
    let mut search = Search { service, name: reader.name, parent, found: false };
    frame.take_steps(NAMES as u32, &mut search);
    search.found
}

/// Looks for a name among those of a service, one a step.
struct Search<'a> {
    service: &'a Service,
    name: Running,
    parent: Running,
    found: bool,
}

impl Task for Search<'_> {
    #[inline(always)]
    fn step<F: Frame>(&mut self, index: u32, _: &F) -> ControlFlow<()> {
        if index >= self.service.all_names {
            return ControlFlow::Break(());
        }
        let wanted = if index < self.service.whole_names { self.name } else { self.parent };
        // The mask is for the verifier: user space writes no higher count.
        if self.service.names[index as usize & (NAMES - 1)] == wanted.0 {
            self.found = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
