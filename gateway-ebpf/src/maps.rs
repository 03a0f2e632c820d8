//! The maps. Sizes of tables are set at load; user space finds them by these names.

use core::{arch::asm, cell::UnsafeCell, mem::zeroed};

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE, BPF_F_NO_PREALLOC,
        bpf_map_type::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LPM_TRIE},
    },
    btf_maps::ArrayOfMaps,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, lpm_trie::Key},
};
use gateway_common::{
    abi::{
        BAN_FILTER_WORDS, DROP_REST_WORDS, DROP_SET_WORDS, HOLDERS_MAX, Holder, INTERFACE_PLACES, INTERFACES,
        Identity, Listing, Live, OwnPorts, PAIR_SET_WORDS, SERVICES, SET_WORDS, Sample, Settings,
        TUNNELS_MAX, Tally, Tunnel,
    },
    for_each_table,
    limit::rate::Instant,
    prefixes::{CHUNKS, Chunk},
    stage::packet_state::PacketState,
    tables::{BucketTable, Note, PairTable, Table},
    verdict::COLUMNS,
};

use crate::inner_map::InnerMap;

/// IPv6 prefixes that a policy may list.
pub(crate) const PREFIXES_MAX: usize = 2_097_152;
/// Live entries of one family.
const LIVE_MAX: u32 = 1_048_576;

/// A set of buckets: one array element.
pub(crate) type BucketSet = [u64; SET_WORDS];
/// A set of pairs: one array element.
pub(crate) type PairSet = [u64; PAIR_SET_WORDS];

/// A map of one value, as a section of its own: the program has its address, and needs no look-up. A look-up would cost
/// each subprogram a call, and the kernel a part of the start for each place that has one. Writer: user space.
#[repr(transparent)]
pub(crate) struct Section<T>(UnsafeCell<T>);

// SAFETY: the program only reads it.
unsafe impl<T> Sync for Section<T> {}

impl<T> Section<T> {
    /// Its address.
    #[inline(always)]
    pub(crate) const fn address(&self) -> *const T {
        self.0.get().cast_const()
    }

    /// The same to read from. LLVM must not know that: it finds no writer, and would take zeros for the value.
    #[inline(always)]
    pub(crate) fn get(&self) -> *const T {
        let mut value = self.address();
        // SAFETY: a move of a register onto itself.
        unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
        value
    }
}

/// The one word that switches policies.
#[unsafe(link_section = ".bss.active")]
pub(crate) static ACTIVE: Section<u64> = Section(UnsafeCell::new(0));

/// Two policies, one of them in force. User space changes only the other.
#[unsafe(link_section = ".bss.settings")]
// SAFETY: numbers alone, and their arrays.
pub(crate) static SETTINGS: Section<[Settings; 2]> = Section(UnsafeCell::new(unsafe { zeroed() }));

/// The counter row of each interface, by its index modulo the length.
#[unsafe(link_section = ".bss.interfaces")]
pub(crate) static INTERFACE_ROWS: Section<[u8; INTERFACE_PLACES as usize]> =
    Section(UnsafeCell::new([0; INTERFACE_PLACES as usize]));

/// Local ports that may have traffic of the host's own.
#[unsafe(link_section = ".bss.own_ports")]
pub(crate) static OWN_PORTS: Section<OwnPorts> = Section(UnsafeCell::new(OwnPorts::NONE));

/// Tunnels' peers. Writer: user space.
#[map(name = "tunnels")]
pub(crate) static TUNNELS: HashMap<Tunnel, u32> =
    HashMap::with_max_entries(TUNNELS_MAX as u32, BPF_F_NO_PREALLOC);

/// The map of one chunk of IPv4 prefixes.
type ChunkMap = InnerMap<{ BPF_MAP_TYPE_ARRAY as usize }, 4, { size_of::<Chunk>() }, 1, 0>;
/// The trie of one set of IPv6 prefixes.
type PrefixTrie = InnerMap<
    { BPF_MAP_TYPE_LPM_TRIE as usize },
    { size_of::<Key<[u8; 16]>>() },
    { size_of::<Listing>() },
    PREFIXES_MAX,
    { BPF_F_NO_PREALLOC as usize },
>;

/// The IPv4 prefix sets of the two policies: the chunks of the one, then those of the other. A chunk is a map of one
/// element. Writer: user space, as for [`SETTINGS`].
#[btf_map]
pub(crate) static PREFIXES_V4: ArrayOfMaps<ChunkMap, { 2 * CHUNKS }> = ArrayOfMaps::new();
/// The same for IPv6, a trie for each.
#[btf_map]
pub(crate) static PREFIXES_V6: ArrayOfMaps<PrefixTrie, 2> = ArrayOfMaps::new();

/// A live entry. Its drops are counted in place.
#[repr(transparent)]
pub(crate) struct LiveCell(pub(crate) UnsafeCell<Live>);

// SAFETY: all access is by the kernel's look-ups; the one field that the program writes is changed atomically.
unsafe impl Sync for LiveCell {}

/// Trusted sources, and bans of prefixes that [`BANS`] does not take. Writer: user space, entry by entry.
#[map(name = "live_v4")]
pub(crate) static LIVE_V4: LpmTrie<[u8; 4], LiveCell> =
    LpmTrie::with_max_entries(LIVE_MAX, BPF_F_NO_PREALLOC);
/// The same for IPv6.
#[map(name = "live_v6")]
pub(crate) static LIVE_V6: LpmTrie<[u8; 16], LiveCell> =
    LpmTrie::with_max_entries(LIVE_MAX, BPF_F_NO_PREALLOC);

/// The bitmap in front of [`BANS`]. Writer: user space, by mmap.
#[map(name = "ban_filter")]
pub(crate) static BAN_FILTER: Array<u64> = Array::with_max_entries(BAN_FILTER_WORDS, BPF_F_MMAPABLE);

/// Sources and neighbourhoods at their limit of connections, and until when. Writer: user space.
#[map(name = "holders")]
pub(crate) static HOLDERS: HashMap<Holder, Instant> =
    HashMap::with_max_entries(HOLDERS_MAX as u32, BPF_F_NO_PREALLOC);

/// The map of each table, with room for one set: the loader sets the number. Writer: this program, but for bans; user
/// space reads by mmap.
macro_rules! tables {
    (
        buckets { $($(#[$b_doc:meta])* $b:ident $b_static:ident $b_name:literal $({$($b_size:tt)*})? $([$b_sets:expr])?)* }
        pairs { $($(#[$p_doc:meta])* $p:ident $p_static:ident $p_name:literal $({$($p_size:tt)*})? $([$p_sets:expr])?)* }
    ) => {
        $(
            $(#[$b_doc])*
            #[map(name = $b_name)]
            pub(crate) static $b_static: Array<BucketSet> = Array::with_max_entries(1, BPF_F_MMAPABLE);
        )*
        $(
            $(#[$p_doc])*
            #[map(name = $p_name)]
            pub(crate) static $p_static: Array<PairSet> = Array::with_max_entries(1, BPF_F_MMAPABLE);
        )*

        /// The map of a table of buckets.
        #[inline(always)]
        pub(crate) const fn buckets(table: BucketTable) -> &'static Array<BucketSet> {
            match table { $(BucketTable::$b => &$b_static),* }
        }

        /// The map of a table of pairs.
        #[inline(always)]
        pub(crate) const fn pairs(table: PairTable) -> &'static Array<PairSet> {
            match table { $(PairTable::$p => &$p_static),* }
        }
    };
}

for_each_table!(tables!);

/// Verdicts by interface, action and reason. Writer: this program. A row is one element, since the kernel makes
/// elements one by one.
#[map(name = "counters")]
pub(crate) static COUNTERS: PerCpuArray<[Tally; COLUMNS]> =
    PerCpuArray::with_max_entries(INTERFACES as u32, 0);
/// Packets by service, action and reason. Writer: this program.
#[map(name = "service_counts")]
pub(crate) static SERVICE_COUNTERS: PerCpuArray<[u64; COLUMNS]> =
    PerCpuArray::with_max_entries(SERVICES as u32, 0);
/// What happens to tables. Writer: this program.
#[map(name = "notes")]
pub(crate) static NOTES: PerCpuArray<u64> =
    PerCpuArray::with_max_entries((Table::COUNT * Note::COUNT) as u32, 0);

/// Facts that outlive the daemon, beside the tables: user space writes and reads them, and sets the constants by them.
#[map(name = "identity")]
pub(crate) static IDENTITY: Array<Identity> = Array::with_max_entries(1, 0);

/// What a CPU has for itself: one look-up for both.
pub(crate) struct Cpu {
    /// What it has read of the clock.
    pub(crate) clock: CpuClock,
    /// What the stages find out about the frame at hand.
    pub(crate) state: PacketState,
}

/// Readings of a CPU's clock within a tick of the kernel.
#[derive(Clone, Copy)]
pub(crate) struct CpuClock {
    /// The tick.
    pub(crate) tick: u64,
    /// How many there were.
    pub(crate) readings: u64,
    /// The last.
    pub(crate) now: Instant,
}

/// Each CPU's own. Writer: this program.
#[map(name = "cpu")]
pub(crate) static CPU: PerCpuArray<Cpu> = PerCpuArray::with_max_entries(1, 0);

/// The drop cache of each CPU: the sets of the first, then those of the next. Writer: this program. Only maps that may
/// be mapped start with a cache line.
#[map(name = "drop_cache")]
pub(crate) static DROP_CACHE: Array<[u64; DROP_SET_WORDS]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The part of it that look-ups do not read.
#[map(name = "drop_cache_rest")]
pub(crate) static DROP_CACHE_REST: Array<[u64; DROP_REST_WORDS]> = Array::with_max_entries(1, 0);

/// Bytes of [`REFUSALS`]: room for 4,096.
const REFUSALS_BYTES: u32 = 1 << 18;

/// Connections whose opening was refused ([`gateway_common::abi::Refusal`]). Writer: this program; user space reads
/// them, and ends the connections.
#[map(name = "refusals")]
pub(crate) static REFUSALS: RingBuf = RingBuf::with_byte_size(REFUSALS_BYTES, 0);

/// Bytes of [`SAMPLES`]: room for some 3,000.
const SAMPLES_BYTES: u32 = 1 << 19;

/// Some drops ([`gateway_common::abi::Sample`]). Writer: this program; user space reads them.
#[map(name = "samples")]
pub(crate) static SAMPLES: RingBuf = RingBuf::with_byte_size(SAMPLES_BYTES, 0);
/// Samples that found no room. Writer: this program.
#[map(name = "samples_lost")]
pub(crate) static SAMPLES_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// Where a CPU puts a sample together. Writer: this program.
#[map(name = "sample")]
pub(crate) static SAMPLE: PerCpuArray<Sample> = PerCpuArray::with_max_entries(1, 0);

/// For tests: the clock, and how late readings of it are where they may be; then action and reason of the last frame.
#[map(name = "test_hook")]
pub(crate) static TEST_HOOK: Array<[u64; 4]> = Array::with_max_entries(1, 0);
