//! What a configuration needs of its host.

/// File descriptors of a node beside connections: listeners, files, links to other nodes.
const FILES_BESIDE: u64 = 1_024;

/// What a configuration needs of its host, with the profile that it is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Client connections that may be open.
    pub client_connections: u64,
    /// Connections to backends that may be open: at most one for each client connection.
    pub backend_connections: u64,
    /// Of these, those to one address: each takes one local port.
    pub to_one_address: u64,
    /// A profile was named: what it asks of the host is then more than advice.
    pub has_profile: bool,
}

impl Needs {
    /// The needs of a node with so many client connections, whose pools let it have so many connections to backends.
    ///
    /// A request over HTTP/1.1 takes one connection on each side, so pools that may have more are not filled.
    pub fn new(client_connections: u64, pools: u64, largest_pool: u64, has_profile: bool) -> Self {
        Self {
            client_connections,
            backend_connections: pools.min(client_connections),
            to_one_address: largest_pool.min(client_connections),
            has_profile,
        }
    }

    /// File descriptors that the node may have open.
    pub const fn files(&self) -> u64 {
        self.client_connections
            .saturating_add(self.backend_connections)
            .saturating_add(FILES_BESIDE)
    }

    /// Connections that the kernel may have to track.
    pub const fn connections(&self) -> u64 {
        self.client_connections
            .saturating_add(self.backend_connections)
    }
}
