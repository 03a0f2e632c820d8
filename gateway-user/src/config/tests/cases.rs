//! Bad configurations: what stands in the file, where the error is shown, and what the help names.

/// One configuration with one error.
pub(super) struct Bad {
    pub(super) text: &'static str,
    pub(super) line: usize,
    pub(super) column: usize,
    /// Part of the message.
    pub(super) message: &'static str,
    /// Part of the help.
    pub(super) help: &'static str,
}

const fn bad(
    text: &'static str,
    (line, column): (usize, usize),
    message: &'static str,
    help: &'static str,
) -> Bad {
    Bad { text, line, column, message, help }
}

/// A network of finer sources in three lines, and the head of another.
macro_rules! network {
    ($network:literal, $source:literal) => {
        concat!("[[limits.network]]\nsources = [\"2001:db8::/", $network, "\"]\nipv6_prefix = ", $source)
    };
    ($network:literal, $source:literal, $rest:literal) => {
        concat!(network!($network, $source), "\n[[limits.network]]\n", $rest)
    };
}

/// A TCP service on port 443 in four lines; what follows starts on line 5.
macro_rules! tcp {
    ($rest:literal) => {
        concat!("[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [443]\n", $rest)
    };
}

/// The same for UDP.
macro_rules! udp {
    ($rest:literal) => {
        concat!("[[service]]\nname = \"quic\"\nprotocol = \"udp\"\nports = [443]\n", $rest)
    };
}

/// A class in three lines.
macro_rules! class {
    ($rest:literal) => {
        concat!("[[class]]\nname = \"a\"\nsources = [\"203.0.113.0/24\"]\n", $rest)
    };
}

// One case a line: a table is read by its columns.
#[rustfmt::skip]
pub(super) const BAD: &[Bad] = &[
    // Keys and types.
    bad("mod = \"off\"", (1, 1), "unknown key `mod`", "did you mean `mode`?"),
    bad("colour = 1", (1, 1), "unknown key `colour`", "known here: `mode`"),
    bad("[limit]\nsyn = 1", (1, 2), "unknown key `limit`", "`limits`"),
    bad("[limits]\npakets = { rate = \"1/s\" }", (2, 1), "in `limits`", "did you mean `packets`?"),
    bad("[limits]\nsyn = { rate = \"1/s\", bust = \"2\" }", (2, 23), "unknown key `bust`", "`burst`"),
    bad("[control]\n\"so\\u001bcket\" = \"/x\"", (2, 1), "\\u{1b}", "`socket`"),
    bad("mode = 1", (1, 8), "must be a string, not an integer", "\"enforce\""),
    bad("mode = \"enforced\"", (1, 8), "`enforced`", "did you mean `enforce`?"),
    bad("mode = \"x\"", (1, 8), "`x`", "`enforce`, `monitor`, `off`"),
    bad("limits = 3", (1, 10), "must be a table", "[limits]"),
    bad("[service]\nname = \"x\"", (1, 1), "must be an array", "[[service]]"),
    bad("service = [1]", (1, 12), "must be a table", "[[service]]"),
    // Reflection.
    bad("[reflection]\ndrop = true", (2, 8), "must be a string, not a boolean", "\"auto\""),
    bad("[reflection]\ndrop = \"allways\"", (2, 8), "`allways`", "did you mean `always`?"),
    bad("[reflection]\nports = [53]", (2, 1), "unknown key `ports`", "did you mean `ports_allow`?"),
    bad("[reflection]\nports_allow = [0]", (2, 16), "out of range: 0", "1 to 65535"),
    bad("[reflection]\nports_extra = [\"50-60\"]\nports_allow = [53]", (2, 16), "port 53", "leave it out of one"),
    // Syntax.
    bad("mode = enforce", (1, 8), "no valid TOML", "in quotes: `\"enforce\"`"),
    bad("mode = \"off\"\nmode = \"off\"", (2, 1), "duplicate key", "once"),
    bad("[attach]\ninterfaces = [\"a\" \"b\"]", (2, 19), "missing comma", "`,`"),
    bad("[attach\ndriver = \"auto\"", (1, 8), "unclosed table", "`]`"),
    bad("mode \"off\"", (1, 6), "no valid TOML", "`=`"),
    // [attach]
    bad("[attach]\ninterfaces = \"eth0\"", (2, 14), "must be an array", "[\"eth0\"]"),
    bad("[attach]\ninterfaces = [\"eth0\", \"eth0\"]", (2, 23), "named twice", "once"),
    bad("[attach]\ninterfaces = [\"eth0/1\"]", (2, 15), "`eth0/1`", "ip link"),
    bad("[attach]\ninterfaces = [\"a234567890123456\"]", (2, 15), "interface", "1 to 15"),
    bad("[attach]\ndriver = \"skb\"", (2, 10), "`skb`", "`auto`, `native`, `generic`"),
    bad("[attach]\non_exit = \"Keep\"", (2, 11), "`Keep`", "did you mean `keep`?"),
    // [limits]
    bad("[limits]\npackets = \"20k/s\"", (2, 11), "must be a table", "{ rate = "),
    bad("[limits]\npackets = { burst = \"1\" }", (2, 11), "`rate` is missing", "rate = \"20k/s\""),
    bad("[limits]\npackets = { rate = 200 }", (2, 20), "must be a string", "\"20k/s\""),
    bad("[limits]\npackets = { rate = \"200\" }", (2, 20), "no unit of time", "200/s"),
    bad("[limits]\npackets = { rate = \"200/m\" }", (2, 20), "unit of time", "`min`"),
    bad("[limits]\npackets = { rate = \"1.5k/s\" }", (2, 20), "not a whole number", "20k/s"),
    bad("[limits]\npackets = { rate = \"-1/s\" }", (2, 20), "does not start with a number", "20k/s"),
    bad("[limits]\npackets = { rate = \"20 k/s\" }", (2, 20), "` k`", "20k/s"),
    bad("[limits]\npackets = { rate = \"1kB/s\" }", (2, 20), "counts packets", "20k/s"),
    bad("[limits]\npackets = { rate = \"0/s\" }", (2, 20), "zero", "block"),
    bad("[limits]\npackets = { rate = \"1G/s\" }", (2, 20), "too high", "148810k/s"),
    bad("[limits]\npackets = { rate = \"99999999999999999999/s\" }", (2, 20), "too large", "20k/s"),
    bad("[limits]\npackets = { rate = \"1/d\", burst = \"101\" }", (2, 35), "100 days", "at most 100"),
    bad("[limits]\npackets = { rate = \"1/s\", burst = 0 }", (2, 35), "too small", "at least 1"),
    bad("[limits]\nbytes = { rate = \"1G/s\" }", (2, 18), "bits or bytes", "1Gbit/s or 1GB/s"),
    bad("[limits]\nbytes = { rate = \"1Gb/s\" }", (2, 18), "`b` is no unit", "1Gbit/s"),
    bad("[limits]\nbytes = { rate = \"1Tbit/s\" }", (2, 18), "`Tbit` is no unit", "1Gbit/s"),
    bad("[limits]\nbytes = { rate = \"900Gbit/s\" }", (2, 18), "too high", "100Gbit/s"),
    bad("[limits]\nbytes = { rate = \"9B/s\" }", (2, 18), "too low", "10B/s"),
    bad("[limits]\nbytes = { rate = \"1MB/s\", burst = \"64\" }", (2, 35), "no unit", "64B"),
    bad("[limits]\nbytes = { rate = \"1MB/s\", burst = 64 }", (2, 35), "must be a string", "64MiB"),
    bad("[limits]\nbytes = { rate = \"1MB/s\", burst = \"1kB\" }", (2, 35), "too small", "1518B"),
    bad("[limits]\nsyn = { rate = \"1/s\", burst = \"2kB\" }", (2, 31), "no number of packets", "400"),
    bad("[limits]\nsyn = \"nothing\"", (2, 7), "must be a table", "\"none\""),
    bad("[limits]\nipv4_prefix = 7", (2, 15), "out of range: 7", "8 to 32"),
    bad("[limits]\nipv6_prefix = 128", (2, 15), "out of range", "16 to 64"),
    bad("[limits]\nipv6_prefix = -1", (2, 15), "out of range", "16 to 64"),
    bad("[limits]\nipv4_prefix = 24", (2, 15), "no larger than a source of /24", "ipv4_prefix = 23"),
    bad("[limits.neighbours]\nipv6_prefix = 56\nudp = 5", (3, 7), "must be a table", "rate"),
    bad("[limits]\nipv6_prefix = 48\n[limits.neighbours]\nipv6_prefix = 56", (4, 15), "/56", "= 47 or less"),
    bad("[[limits.network]]\nipv6_prefix = 120", (1, 1), "`sources` is missing", "2001:db8:7:8::/64"),
    bad("[[limits.network]]\nsources = [\"2001:db8::/64\"]", (1, 1), "`ipv6_prefix` is missing", "= 120"),
    bad(network!("64", "64"), (3, 15), "out of range: 64", "65 to 128"),
    bad(network!("64", "128"), (2, 12), "64 bits finer", "ipv6_prefix = 120 or less, or networks of /72"),
    bad("[[limits.network]]\nsources = [\"2000::/8\"]\nipv6_prefix = 96", (2, 12), "88 bits finer", "write networks of /40 or narrower"),
    bad(network!("96", "96"), (2, 12), "no finer than", "a larger ipv6_prefix"),
    bad("[[limits.network]]\nsources = [\"192.0.2.0/24\"]\nipv6_prefix = 96", (2, 12), "no IPv6", "ipv4_prefix"),
    bad("[[limits.network]]\nsources = [\"64:ff9b::/64\"]\nipv6_prefix = 96", (2, 12), "IPv4 addresses", "other"),
    bad(network!("64", "96", "sources = [\"2001:db8::/64\"]\nipv6_prefix = 120"), (5, 12), "twice", "once"),
    bad(network!("64", "96\nprefix = 120"), (4, 1), "`prefix`", "ipv6_prefix"),
    // [[class]]
    bad("[[class]]\nsources = [\"192.0.2.1\"]", (1, 1), "`name` is missing", "name = "),
    bad("[[class]]\nname = \"a\"", (1, 1), "`sources` is missing", "sources = "),
    bad("[[class]]\nname = \"a\"\nsources = []", (3, 11), "without sources", "203.0.113.0/24"),
    bad("[[class]]\nname = \"A b\"\nsources = [\"192.0.2.1\"]", (2, 8), "cannot be a name", "a-z"),
    bad(class!("[[class]]\nname = \"a\"\nsources = [\"192.0.2.1\"]"), (5, 8), "named `a`", "its own"),
    bad(class!("[[class]]\nname = \"b\"\nsources = [\"203.0.113.0/24\"]"), (6, 12), "again", "in one class"),
    bad("[[class]]\nname = \"a\"\nsources = [\"203.0.113.7/24\"]", (3, 12), "bits set", "203.0.113.0/24"),
    bad("[[class]]\nname = \"a\"\nsources = [\"2001:db8::1/48\"]", (3, 12), "bits set", "2001:db8::/48"),
    bad("[[class]]\nname = \"a\"\nsources = [\"file:/x\"]", (3, 12), "no IP address", "[lists] alone"),
    bad(class!("syn = { rate = \"5/sec\" }"), (4, 16), "`sec`", "`s`, `min`"),
    // [[service]]
    bad("[[service]]\nprotocol = \"tcp\"\nports = [443]", (1, 1), "`name` is missing", "name = "),
    bad("[[service]]\nname = \"a\"\nports = [443]", (1, 1), "`protocol` is missing", "\"tcp\""),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"", (1, 1), "`ports` is missing", "ports = [443]"),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = []", (4, 9), "without ports", "[443"),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tpc\"\nports = [443]", (3, 12), "`tpc`", "`tcp`"),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [0]", (4, 10), "out of range: 0", "1 to 65535"),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [\"9-8\"]", (4, 10), "ends before", "\"8-9\""),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [\"http\"]", (4, 10), "no range", "8000-8099"),
    bad("[[service]]\nname = \"a\"\nprotocol = \"tcp\"\nports = [80, \"1-99\"]", (4, 14), "80 twice", "once"),
    bad(tcp!("addresses = [\"192.0.2.1/32\"]"), (5, 14), "no IP address", "without a prefix length"),
    bad(tcp!("addresses = [\"::ffff:192.0.2.1\"]"), (5, 14), "mapped", "write 192.0.2.1"),
    bad(tcp!("addresses = [\"::1\", \"::1\"]"), (5, 21), "twice", "once"),
    bad(tcp!("addresses = [\"::1\",\"::2\",\"::3\",\"::4\",\"::5\",\"::6\",\"::7\",\"::8\",\"::9\"]"), (5, 13), "8 addresses, not 9", "two services"),
    bad(tcp!("require = \"quic\""), (5, 11), "a tcp service cannot require `quic`", "protocol = \"udp\""),
    bad(udp!("require = \"tls\""), (5, 11), "a udp service cannot require `tls`", "require = \"quic\""),
    bad(tcp!("udp = { rate = \"1/s\" }"), (5, 1), "`udp` counts nothing", "`syn`"),
    bad(udp!("total.syn = { rate = \"1/s\" }"), (5, 7), "`syn` counts nothing", "`udp`"),
    bad(tcp!("total.sin = { rate = \"1/s\" }"), (5, 7), "unknown key `sin`", "did you mean `syn`?"),
    bad(tcp!("min_tls = \"1.2\""), (5, 1), "needs a service that requires TLS", "require = \"tls\""),
    bad(tcp!("proxy_protocol = true"), (5, 1), "requires TLS", "require = \"tls\""),
    bad(tcp!("proxy_protocol = \"true\""), (5, 18), "must be a boolean", "without quotes"),
    bad(tcp!("server_names = [\"a.example\"]"), (5, 1), "requires TLS", "require = \"tls\""),
    bad(tcp!("require = \"tsl\"\nmin_tls = \"1.2\""), (5, 11), "`tsl`", "did you mean `tls`?"),
    bad(tcp!("require = \"tls\"\nmin_tls = \"1.4\""), (6, 11), "`1.4`", "`1.2`, `1.3`"),
    bad(tcp!("require = \"tls\"\nmin_tls = 1.2"), (6, 11), "not a float", "\"1.0\""),
    bad(tcp!("require = \"tls\"\nserver_names = [\"a.*.example\"]"), (6, 17), "no server name", "*.example.com"),
    bad(tcp!("require = \"tls\"\nserver_names = [\"a.example..\"]"), (6, 17), "no server name", "host name"),
    bad(tcp!("require = \"tls\"\nserver_names = [\"192.0.2.1\"]"), (6, 17), "no server name", "address"),
    bad(tcp!("require = \"tls\"\nserver_names = [\"b\u{fc}cher.example\"]"), (6, 17), "server name", "xn--"),
    bad(tcp!("refuse = \"drop\""), (5, 1), "requires TLS", "require = \"tls\""),
    bad(tcp!("require = \"tls\"\nrefuse = \"rst\""), (6, 10), "`rst`", "reset"),
    bad(tcp!("connections = 0"), (5, 15), "out of range: 0", "from 1"),
    bad(tcp!("connections = \"many\""), (5, 15), "must be", "number"),
    bad(tcp!("total.connections = 0"), (5, 21), "out of range: 0", "from 1"),
    bad(tcp!("hello_timeout = \"10s\""), (5, 1), "requires TLS", "require = \"tls\""),
    bad(tcp!("require = \"tls\"\nhello_timeout = \"0s\""), (6, 17), "no time at all", "1s"),
    bad(tcp!("idle_timeout = 60"), (5, 16), "must be a string", "\"10s\""),
    bad(udp!("connections = 5"), (5, 1), "needs a tcp service", "leave the key out"),
    bad(udp!("total.connections = 5"), (5, 7), "needs a tcp service", "leave the key out"),
    bad(udp!("idle_timeout = \"1m\""), (5, 1), "needs a tcp service", "leave the key out"),
    bad("[limits.neighbours]\nconnections = \"5\"", (2, 15), "must be", "number"),
    bad(udp!("syn_cookies = \"off\""), (5, 1), "no SYN", "leave"),
    bad(udp!("syn_answers = \"none\""), (5, 1), "no SYN", "leave `syn_answers`"),
    bad(tcp!("syn_answers = 5"), (5, 15), "must be a table", "syn_answers = { rate = "),
    bad(tcp!("[[service]]\nname = \"api\"\nprotocol = \"tcp\"\nports = [80]"), (6, 8), "named `api`", "its own"),
    bad(tcp!("[[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [\"400-500\"]"), (8, 10), "`api` and `web` both have tcp port 443", "different `addresses`"),
    bad(tcp!("addresses = [\"192.0.2.1\"]\n[[service]]\nname = \"web\"\nprotocol = \"tcp\"\nports = [443]"), (9, 10), "`api` and `web`", "different ports"),
    // [lists]
    bad("[lists]\nallow = \"192.0.2.1\"", (2, 9), "must be an array", "[\"198.51.100.0/24\"]"),
    bad("[lists]\nallow = [\"host.example\"]", (2, 10), "no IP address", "192.0.2.10"),
    bad("[lists]\nallow = [\"192.0.2.1/33\"]", (2, 10), "`33` is no prefix length", "0 to 32"),
    bad("[lists]\nallow = [\"192.0.2.1/\"]", (2, 10), "no prefix length", "0 to 32"),
    bad("[lists]\nallow = [\"::ffff:192.0.2.0/120\"]", (2, 10), "mapped", "write 192.0.2.0/24"),
    bad("[lists]\nallow = [\"fe80::1%eth0\"]", (2, 10), "no IP address", "2001:db8::/48"),
    bad("[lists]\nallow = [\"192.0.2.1\"]\nblock = [\"192.0.2.1/32\"]", (3, 10), "both allowed and blocked", "`allow`"),
    bad("[lists]\nblock = [\"file:list.txt\"]", (2, 10), "no absolute path", "starts with /"),
    bad("[lists]\nblock = [\"file:/nowhere/list.txt\"]", (2, 10), "/nowhere/list.txt", "create the file"),
    bad("[lists]\nblock = [\"file:/dev/zero\"]", (2, 10), "no regular file", "name a file"),
    // [ban], [metrics], [control], [audit]
    bad("[ban]\nstrikes = 0", (2, 11), "out of range: 0", "from 1"),
    bad("[ban]\nwithin = \"10\"", (2, 10), "no unit", "90s"),
    bad("[ban]\nwithin = 10", (2, 10), "must be a string", "\"10m\""),
    bad("[ban]\nwithin = \"0s\"", (2, 10), "no time at all", "1s"),
    bad("[ban]\nfirst = \"1mon\"", (2, 9), "no duration", "10m"),
    bad("[ban]\nfirst = \"25h\"", (2, 9), "shorter than the first", "longest = \"25h\""),
    bad("[ban]\nnever = [\"192.0.2.1/24\"]", (2, 10), "bits set", "192.0.2.0/24"),
    bad("[metrics]\nlisten = \"9464\"", (2, 10), "no address", "127.0.0.1:9464"),
    bad("[control]\nsocket = \"control.sock\"", (2, 10), "no absolute path", "starts with /"),
    bad("[attach]\nbtf = \"vmlinux.btf\"", (2, 7), "no absolute path", "starts with /"),
    bad("[audit]\nretention = \"364d\"", (2, 13), "`364d` is shorter", "365d"),
    bad("[audit]\nretention = \"1y\"", (2, 13), "no duration", "400d"),
    // Columns are characters, not bytes.
    bad("[audit] # \u{e4}\u{f6}\u{fc}\nx.\u{22}\u{e4}\u{22}=1", (2, 1), "unknown key `x`", "`database`"),
    bad("ban = { \"\u{e4}\u{e4}\" = 1, strike = 3 }", (1, 9), "unknown key", "known here"),
];
