//! What a host should be set to. A node compares and tells; it changes nothing.

use super::declare::*;

knobs! {
    SOMAXCONN = "host.somaxconn", Kind::Count(128, 2_147_483_647),
        Literal::Count(65_535), ApplyClass::Host,
        "net.core.somaxconn.";
    SYN_BACKLOG_MAX = "host.syn_backlog_max", Kind::Count(128, 2_147_483_647),
        Literal::Count(8192), ApplyClass::Host,
        "net.ipv4.tcp_max_syn_backlog.";
    NETDEV_BACKLOG_MAX = "host.netdev_backlog_max", Kind::Count(100, 2_147_483_647),
        Literal::Count(5000), ApplyClass::Host,
        "net.core.netdev_max_backlog.";
    FIN_TIMEOUT = "host.fin_timeout", Kind::Duration(secs(1), secs(3600)),
        Literal::Duration(secs(30)), ApplyClass::Host,
        "net.ipv4.tcp_fin_timeout.";
    KEEPALIVE_TIME = "host.keepalive_time", Kind::Duration(secs(1), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Host,
        "net.ipv4.tcp_keepalive_time.";
    KEEPALIVE_PROBES = "host.keepalive_probes", Kind::Count(1, 127),
        Literal::Count(5), ApplyClass::Host,
        "net.ipv4.tcp_keepalive_probes.";
    KEEPALIVE_INTERVAL = "host.keepalive_interval", Kind::Duration(secs(1), secs(3600)),
        Literal::Duration(secs(15)), ApplyClass::Host,
        "net.ipv4.tcp_keepalive_intvl.";
    TCP_FASTOPEN = "host.tcp_fastopen", Kind::Count(0, 1027),
        Literal::Count(3), ApplyClass::Host,
        "net.ipv4.tcp_fastopen.";
    RMEM_MAX = "host.rmem_max", Kind::Bytes(4096, 2_147_483_647),
        Literal::Bytes(16_777_216), ApplyClass::Host,
        "net.core.rmem_max.";
    WMEM_MAX = "host.wmem_max", Kind::Bytes(4096, 2_147_483_647),
        Literal::Bytes(16_777_216), ApplyClass::Host,
        "net.core.wmem_max.";
    CONNTRACK_MAX = "host.conntrack_max", Kind::Count(1024, 2_147_483_647),
        Literal::Count(1_048_576), ApplyClass::Host,
        "net.netfilter.nf_conntrack_max.";
    FILE_MAX = "host.file_max", Kind::Count(1024, 9_000_000_000_000_000_000),
        Literal::Count(2_097_152), ApplyClass::Host,
        "fs.file-max.";
    NOFILE = "host.nofile", Kind::Count(1024, 2_147_483_647),
        Literal::Count(1_048_576), ApplyClass::Host,
        "RLIMIT_NOFILE of the node.";
    PORT_RANGE_MIN = "host.port_range_min", Kind::Count(1, 65_535),
        Literal::Count(1024), ApplyClass::Host,
        "The lower end of net.ipv4.ip_local_port_range.";
    PORT_RANGE_MAX = "host.port_range_max", Kind::Count(1, 65_535),
        Literal::Count(65_535), ApplyClass::Host,
        "The upper end of net.ipv4.ip_local_port_range.";
    SWAPPINESS = "host.swappiness", Kind::Count(0, 200),
        Literal::Count(10), ApplyClass::Host,
        "vm.swappiness.";
    DIRTY_PERCENT = "host.dirty_percent", Kind::Percent(0, 100),
        Literal::Percent(15), ApplyClass::Host,
        "vm.dirty_ratio.";
    DIRTY_BACKGROUND_PERCENT = "host.dirty_background_percent", Kind::Percent(0, 100),
        Literal::Percent(5), ApplyClass::Host,
        "vm.dirty_background_ratio.";
}
