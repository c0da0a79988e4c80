//! Whether the network that an engine joined is still there.
//!
//! Whoever joins the network of a container has it as long as that container is not started again. Then it goes on
//! without any network, and nothing of its own tells so: both are compared.

/// The network of a container at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The container's name.
    pub container: String,
    /// Its id: another one after it was made anew.
    pub id: String,
    /// When it was started, milliseconds since 1970 by the clock of whatever runs it.
    pub started_unix_ms: u64,
}

/// What is known of an engine that joined a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined<'a> {
    /// The network that was known when it was started; `None` when none was.
    pub at_start: Option<&'a Network>,
    /// The container that it joined, by id.
    pub container_id: &'a str,
    /// When it was started, by the clock that [`Network::started_unix_ms`] goes by.
    pub started_unix_ms: u64,
}

impl Network {
    /// One line for a label; see [`Self::parse`].
    pub fn to_label(&self) -> String {
        format!("{}/{}/{}", self.container, self.id, self.started_unix_ms)
    }

    /// Reads a label; `None` when it is none of this form.
    pub fn parse(label: &str) -> Option<Self> {
        let mut parts = label.splitn(3, '/');
        let (container, id, started) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            container: container.to_owned(),
            id: id.to_owned(),
            started_unix_ms: started.parse().ok()?,
        })
    }

    /// Whether this network, which is there now, is another one than the engine is in.
    ///
    /// What was known at the start counts more than clocks, which may have been set since. It may have been out of date
    /// by then: so where the two differ, the id and the times decide. An engine that joined the container of another
    /// name is not judged here.
    pub fn is_gone_for(&self, engine: &Joined<'_>) -> bool {
        match engine.at_start {
            Some(then) if then.container != self.container => return false,
            Some(then) if then == self => return false,
            _ => {}
        }
        engine.container_id != self.id || engine.started_unix_ms < self.started_unix_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(id: &str, started_unix_ms: u64) -> Network {
        Network {
            container: "gluetun".to_owned(),
            id: id.to_owned(),
            started_unix_ms,
        }
    }

    #[test]
    fn a_label_reads_back_and_nothing_else_passes_for_one() {
        let one = network("4f", 1_700_000_000_123);
        assert_eq!(one.to_label(), "gluetun/4f/1700000000123");
        assert_eq!(Network::parse(&one.to_label()), Some(one));
        for wrong in [
            "",
            "gluetun",
            "gluetun/4f",
            "gluetun/4f/",
            "gluetun/4f/x",
            "a/b/c/1",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_network_is_gone_with_its_container_and_with_each_start_of_it() {
        let gone = |now: Network, at_start: Option<Network>, id: &str, started_unix_ms| {
            now.is_gone_for(&Joined {
                at_start: at_start.as_ref(),
                container_id: id,
                started_unix_ms,
            })
        };
        let then = || Some(network("a", 10));
        // As it was.
        assert!(!gone(network("a", 10), then(), "a", 20));
        assert!(!gone(network("a", 10), None, "a", 20));
        // Made anew; started again.
        assert!(gone(network("b", 30), then(), "a", 20));
        assert!(gone(network("b", 30), None, "a", 20));
        assert!(gone(network("a", 30), then(), "a", 20));
        assert!(gone(network("a", 30), None, "a", 20));
        // Known too late at the start: what it joined was the next one already.
        assert!(!gone(network("b", 30), then(), "b", 40));
        assert!(!gone(network("a", 30), then(), "a", 40));
        // The clock was set back between the two starts.
        assert!(!gone(network("a", 10), then(), "a", 5));
        // Another container is meant by now.
        let other = Network {
            container: "other".to_owned(),
            ..network("c", 30)
        };
        assert!(!gone(other, then(), "a", 20));
    }
}
