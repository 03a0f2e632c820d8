//! Filters that stand in a flood's way, all with the same limit for each source.

use std::process::Command;

use anyhow::{Context as _, Result};
use gateway_common::{abi::listing, limit::rate::Dimension, tables::TableSizes};
use gateway_tests::cases::{Draft as _, Offer, limit};
use gateway_tests::kernel::apply;
use gateway_tests::lab::{Attached, FLOOD_V4, Lab, Program};
use gateway_user::host::Stand;
use gateway_user::kernel::attach::{Attachment, Driver};
use gateway_user::kernel::{Kernel, Program as Build};
use nix::net::if_::if_nametoindex;

use crate::subject::sized;

/// Packets that each source may send in a second, and at once.
pub(crate) const RATE: u64 = 2;
/// The same for a whole neighbourhood, a /24, where the filter has such limits.
pub(crate) const NEIGHBOURS_RATE: u64 = 20;

/// The same for all sources together.
pub(crate) const TOTAL_RATE: u64 = 10_000;
/// The port that floods go to.
pub(crate) const PORT: u16 = 9;

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// XDP_DROP and nothing else.
    Drop,
    /// XDP_PASS, and the rule that drops what a filter lets through.
    Pass,
    /// The gateway with a limit for each source.
    Gateway,
    /// The gateway with limits for each source, for its neighbourhood, and for all together.
    Wide,
    /// A token bucket in an LRU hash map.
    Textbook,
    /// nftables at netdev ingress, a dynamic set with a limit.
    Nftables,
    /// iptables' hashlimit in the raw table.
    Hashlimit,
    /// The gateway with one source on its block list.
    Blocked,
    /// xdp-filter with the same source on its list; it has no limits.
    XdpTools,
}

impl Filter {
    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drop => "bare XDP_DROP",
            Self::Pass => "XDP_PASS and the drop rule, no limiter",
            Self::Gateway => "gateway, sources alone",
            Self::Wide => "gateway, sources, neighbourhoods and total",
            Self::Textbook => "XDP token bucket in LRU_HASH (textbook)",
            Self::Nftables => "nftables netdev ingress, dynamic set",
            Self::Hashlimit => "iptables raw hashlimit",
            Self::Blocked => "gateway, the source on a block list",
            Self::XdpTools => "xdp-filter, the source on its list",
        }
    }

    /// Puts it on the server's interface for attackers.
    pub(crate) fn stand(self, lab: &Lab) -> Result<Standing> {
        let standing = match self {
            Self::Drop => Standing::Lab(lab.attach(Program::Drop)?),
            Self::Textbook => Standing::Lab(lab.attach(Program::Textbook { rate: RATE, burst: RATE })?),
            Self::Gateway | Self::Wide => self.gateway(lab)?,
            Self::Blocked => {
                Standing::gateway(lab, &Stand::new().list(&format!("{FLOOD_V4}/32"), listing::BLOCK, 0))?
            }
            Self::XdpTools => Standing::XdpFilter(XdpFilter::load(lab)?),
            // The generator hands frames over to interfaces with an XDP program alone.
            Self::Pass | Self::Nftables | Self::Hashlimit => Standing::Lab(lab.attach(Program::Pass)?),
        };
        match self {
            Self::Nftables => nftables(lab)?,
            Self::Hashlimit => return hashlimit(lab).map(|()| standing),
            _ => {}
        }
        drop_passed(lab)?;
        Ok(standing)
    }

    /// Packets that it has let through: those that the rule behind it has counted.
    pub(crate) fn passed(self, lab: &Lab) -> Result<u64> {
        if self != Self::Hashlimit {
            return passed(lab);
        }
        counted(&lab.server.run("iptables", &["-w", "-t", "raw", "-v", "-S", "PREROUTING"])?, "-c ")
    }

    fn gateway(self, lab: &Lab) -> Result<Standing> {
        let mut policy = Stand::new().each(Dimension::Udp, limit(Dimension::Udp, RATE, RATE));
        if self == Self::Wide {
            let whole = limit(Dimension::Udp, NEIGHBOURS_RATE, NEIGHBOURS_RATE);
            let service =
                Offer::udp(PORT).total(Dimension::Udp, limit(Dimension::Udp, TOTAL_RATE, TOTAL_RATE));
            policy = policy.neighbours(Dimension::Udp, whole).serve(service);
        }
        Standing::gateway(lab, &policy)
    }
}

/// A filter in place; dropping it takes it off. Rules go with their namespace.
#[expect(dead_code, reason = "held for its drop")]
pub(crate) enum Standing {
    Lab(Attached),
    Gateway(Box<Kernel>, Attachment),
    XdpFilter(XdpFilter),
}

/// xdp-filter (Debian's xdp-tools) on the server's interface for attackers.
pub(crate) struct XdpFilter {
    namespace: String,
    interface: String,
}

impl XdpFilter {
    fn load(lab: &Lab) -> Result<Self> {
        let interface = lab.attack_side();
        let source = FLOOD_V4.to_string();
        lab.server.run("xdp-filter", &["load", interface, "--mode", "native", "--features", "ipv4"])?;
        let loaded = Self { namespace: lab.server.name().to_owned(), interface: interface.to_owned() };
        lab.server.run("xdp-filter", &["ip", &source, "--mode", "src"])?;
        Ok(loaded)
    }
}

impl Drop for XdpFilter {
    fn drop(&mut self) {
        // Its list is pinned, and would be there for the next.
        let network = format!("--net=/run/netns/{}", self.namespace);
        let unload =
            Command::new("nsenter").args([&network, "xdp-filter", "unload", &self.interface]).output();
        if let Err(error) = unload {
            eprintln!("xdp-filter stays: {error}");
        }
    }
}

impl Standing {
    /// The gateway under a policy, on the server's interface for attackers.
    pub(crate) fn gateway(lab: &Lab, policy: &Stand) -> Result<Self> {
        Self::sized(lab, policy, TableSizes::default(), true)
    }

    /// The same with tables of another size, and asking the host's TCP or not.
    pub(crate) fn sized(lab: &Lab, policy: &Stand, tables: TableSizes, sockets: bool) -> Result<Self> {
        Self::with(lab, tables, sockets, |kernel| apply(kernel, policy))
    }

    /// The same under a policy that is put into force so.
    pub(crate) fn with(
        lab: &Lab,
        tables: TableSizes,
        sockets: bool,
        apply: impl FnOnce(&mut Kernel) -> Result<()>,
    ) -> Result<Self> {
        let name = lab.attack_side();
        let index = lab.server.enter(|| if_nametoindex(name))??;
        let mut kernel = sized(vec![index], tables, sockets)?;
        apply(&mut kernel)?;
        let attached =
            lab.server.enter(|| kernel.attach(name, index, Build::Plain, Driver::Native, None))??;
        Ok(Self::Gateway(Box::new(kernel), attached))
    }
}

/// Drops what comes through a filter at the next best place, so that the stack's work is not measured.
pub(crate) fn drop_passed(lab: &Lab) -> Result<()> {
    let hook = format!("type filter hook ingress device {} priority 500;", lab.attack_side());
    nft(
        lab,
        &[
            "add table netdev rest".to_owned(),
            format!("add chain netdev rest dropped {{ {hook} }}"),
            "add rule netdev rest dropped counter drop".to_owned(),
        ],
    )
}

/// Packets that [`drop_passed`] has dropped.
pub(crate) fn passed(lab: &Lab) -> Result<u64> {
    counted(&lab.server.run("nft", &["list chain netdev rest dropped"])?, "packets ")
}

/// What the last line that counts has counted, that of the drop rule.
fn counted(text: &str, before: &str) -> Result<u64> {
    let word = text.rsplit(before).next().and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).context("the drop rule does not count")
}

fn nftables(lab: &Lab) -> Result<()> {
    let set = "{ type ipv4_addr; size 1048576; flags dynamic,timeout; timeout 10s; }";
    let chain = format!("{{ type filter hook ingress device {} priority 0; }}", lab.attack_side());
    let over = format!("limit rate over {RATE}/second burst {RATE} packets");
    nft(
        lab,
        &[
            "add table netdev bench".to_owned(),
            format!("add set netdev bench sources {set}"),
            format!("add chain netdev bench limits {chain}"),
            format!("add rule netdev bench limits update @sources {{ ip saddr {over} }} drop"),
        ],
    )
}

fn nft(lab: &Lab, lines: &[String]) -> Result<()> {
    lab.server.run("nft", &[&lines.join("; ")]).map(drop).context("nftables")
}

fn hashlimit(lab: &Lab) -> Result<()> {
    let (above, burst) = (format!("{RATE}/sec"), RATE.to_string());
    let raw = ["-w", "-t", "raw", "-A", "PREROUTING", "-i", lab.attack_side()];
    let limit = ["-m", "hashlimit", "--hashlimit-above", &above, "--hashlimit-burst", &burst];
    let table = ["--hashlimit-mode", "srcip", "--hashlimit-name", "bench"];
    let size = ["--hashlimit-htable-size", "262144", "--hashlimit-htable-max", "1048576", "-j", "DROP"];
    let whole: Vec<&str> = raw.iter().chain(&limit).chain(&table).chain(&size).copied().collect();
    lab.server.run("iptables", &whole)?;
    let last: Vec<&str> = raw.iter().chain(&["-j", "DROP"]).copied().collect();
    lab.server.run("iptables", &last).map(drop)
}
