//! Which node numbers a topic, and who goes on after it.

use super::TopicName;
use crate::vpn::ranking;

/// Who is there for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners<'a, S> {
    /// Numbers its messages.
    pub owner: &'a S,
    /// Keeps them too, and is the owner when that one is gone.
    pub replica: Option<&'a S>,
}

/// The owner and the replica of a topic, of all nodes that live: the first two by rendezvous hashing, so that the
/// replica is the next owner.
pub fn owners<'a, S: AsRef<str>>(topic: &TopicName, live: &'a [S]) -> Option<Owners<'a, S>> {
    let mut ranked = ranking(topic.as_str(), live).into_iter();
    Some(Owners {
        owner: ranked.next()?,
        replica: ranked.next(),
    })
}

/// Whether who takes a topic over may go on with its epoch: only with every message whose keeping was acknowledged.
/// Without, offsets that publishers and subscribers know would be given a second time.
pub const fn may_continue(acknowledged: u64, held: u64) -> bool {
    held >= acknowledged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_is_the_next_owner() {
        let nodes = ["a", "b", "c", "d"];
        for n in 0..100 {
            let topic = TopicName::new(&format!("t.{n}")).unwrap();
            let first = owners(&topic, &nodes).unwrap();
            let left: Vec<_> = nodes.iter().filter(|node| *node != first.owner).collect();
            assert_eq!(Some(*owners(&topic, &left).unwrap().owner), first.replica);
        }
        assert_eq!(owners(&TopicName::new("t").unwrap(), &[] as &[&str]), None);
    }

    #[test]
    fn an_epoch_ends_with_the_first_acknowledged_message_that_is_gone() {
        assert!(may_continue(0, 0) && may_continue(7, 7) && may_continue(7, 8));
        assert!(!may_continue(7, 6));
    }
}
