//! A simulated mesh whose nodes keep answers and purge them: the way of a request as the data plane has it, which has
//! threads and is not there, over the stores, actors and streams of real nodes.

mod asking;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod hosts;
mod planted;
mod serving;
pub(crate) mod work;
pub(crate) mod world;

use std::sync::Arc;
use std::time::Duration;

use weir_cache::Resource;
use weir_core::cache::{Key, Target};
use weir_core::proxy::Scheme;
use weir_core::purge::{Scope, namespace_id, tag_id};

/// The nodes.
pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// How many keys there are.
pub(crate) const KEYS: usize = 8;
/// How many tags; each key has one.
const TAGS: usize = 3;
/// What the paths of keys begin with.
const SECTIONS: [&str; 2] = ["/a/", "/b/"];
/// What wall clocks show at the start, where they are right: 2030-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_893_456_000);
const NAMESPACE: &str = "web";
const HOST: &str = "www.example";

/// What a purge is of, told apart from how nodes tell it: the checks have their own idea of what it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// A key.
    Key(usize),
    /// A tag.
    Tag(usize),
    /// What begins with a section's name.
    Section(usize),
    /// Everything of the host.
    Host,
    /// Everything.
    All,
}

impl Of {
    /// Any of them, narrow ones more often.
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u8(..12) {
            0..=4 => Self::Key(random.usize(..KEYS)),
            5..=7 => Self::Tag(random.usize(..TAGS)),
            8 | 9 => Self::Section(random.usize(..SECTIONS.len())),
            10 => Self::Host,
            _ => Self::All,
        }
    }

    /// Whether it concerns a key.
    pub(crate) fn concerns(self, key: usize) -> bool {
        match self {
            Self::Key(of) => of == key,
            Self::Tag(of) => of == key % TAGS,
            Self::Section(of) => of == key % SECTIONS.len(),
            Self::Host | Self::All => true,
        }
    }

    fn scope(self) -> Scope {
        let host = Resource::host_id(NAMESPACE, HOST);
        match self {
            Self::Key(key) => Scope::Key(resource(key).key_id()),
            Self::Tag(tag) => Scope::Tag(tag_of(tag)),
            Self::Section(section) => Scope::Prefix {
                host,
                path: SECTIONS[section].into(),
            },
            Self::Host => Scope::Host(host),
            Self::All => Scope::All(namespace_id(NAMESPACE)),
        }
    }
}

fn path(key: usize) -> String {
    format!("{}{key}", SECTIONS[key % SECTIONS.len()])
}

fn tag_of(key: usize) -> u64 {
    tag_id(NAMESPACE, &format!("tag-{}", key % TAGS))
}

fn resource(key: usize) -> Resource {
    let path = path(key);
    let target = Target {
        namespace: NAMESPACE,
        scheme: Scheme::Http,
        authority: HOST,
        path_and_query: &path,
    };
    let key = Key::of(&target).expect("the path is short");
    Resource::new(key, NAMESPACE, HOST, &path)
}

/// The node that asks the origin for a key.
fn owner(key: usize) -> &'static str {
    let resource = resource(key);
    weir_core::vpn::owner(resource.key.as_str(), &NODES).expect("there are nodes")
}

/// What a node keeps.
type Store = Arc<weir_cache::Store<weir_node::data_plane::answer::Reason>>;
