//! Ports that only one holder may have.
//!
//! What is reserved stays so until it is released, and a holder releases all that it has by its name: no path out of a
//! start needs to know how far the start had come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use crate::ids::VpnName;

#[cfg(test)]
mod tests;

/// Who has what.
#[derive(Clone, Debug)]
struct Held<H> {
    numbers: BTreeMap<H, u16>,
    holders: BTreeMap<u16, H>,
}

impl<H: Clone + Ord> Held<H> {
    fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    fn put(&mut self, holder: H, number: u16) {
        self.numbers.insert(holder.clone(), number);
        self.holders.insert(number, holder);
    }

    fn take(&mut self, holder: &H) -> Option<u16> {
        let number = self.numbers.remove(holder)?;
        self.holders.remove(&number);
        Some(number)
    }

    /// Whether the number may be given to that holder, who has none.
    fn check(&self, holder: &H, number: u16) -> Result<(), Taken<H>> {
        match self.holders.get(&number) {
            Some(other) if other != holder => Err(Taken {
                number,
                holder: other.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn without(&self, keep: impl Fn(&H) -> bool) -> Vec<H> {
        let gone = self.numbers.keys().filter(|holder| !keep(holder));
        gone.cloned().collect()
    }
}

/// Somebody else has the number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is taken")]
pub struct Taken<H> {
    /// The number.
    pub number: u16,
    /// Who has it.
    pub holder: H,
}

/// The ports of one range, at most one a holder. Of those that are free the one released longest ago is given, so a
/// port that somebody outside has in use, or that clients still talk to, is not tried again at once.
#[derive(Clone, Debug)]
pub struct PortPool<H> {
    range: RangeInclusive<u16>,
    free: VecDeque<u16>,
    held: Held<H>,
}

impl<H: Clone + Ord> PortPool<H> {
    /// All ports of the range are free.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        Self {
            free: range.clone().collect(),
            range,
            held: Held::new(),
        }
    }

    /// The holder's port; a free one if it has none. `None` when none is free.
    pub fn reserve(&mut self, holder: H) -> Option<u16> {
        if let Some(port) = self.port_of(&holder) {
            return Some(port);
        }
        let port = self.free.pop_front()?;
        self.held.put(holder, port);
        Some(port)
    }

    /// Gives the holder's port back, if it has one.
    pub fn release(&mut self, holder: &H) -> Option<u16> {
        let port = self.held.take(holder)?;
        if self.range.contains(&port) {
            self.free.push_back(port);
        }
        Some(port)
    }

    /// Notes that a holder has this port, found on an engine that runs; in the range or not. What it had before is
    /// given back.
    ///
    /// # Errors
    /// [`Taken`] when somebody else has it; nothing changes then.
    pub fn adopt(&mut self, holder: H, port: u16) -> Result<(), Taken<H>> {
        self.held.check(&holder, port)?;
        self.release(&holder);
        self.free.retain(|free| *free != port);
        self.held.put(holder, port);
        Ok(())
    }

    /// Gives back what nobody has any more; says how many ports that were.
    pub fn retain(&mut self, keep: impl Fn(&H) -> bool) -> usize {
        let gone = self.held.without(keep);
        gone.iter()
            .filter_map(|holder| self.release(holder))
            .count()
    }

    /// Changes the range. Ports in use stay with their holders and are not given again outside of it.
    pub fn set_range(&mut self, range: RangeInclusive<u16>) {
        let known: BTreeSet<u16> = self.free.iter().copied().collect();
        let is_new = |port: &u16| !known.contains(port) && !self.held.holders.contains_key(port);
        let new: Vec<u16> = range.clone().filter(is_new).collect();
        self.free.retain(|port| range.contains(port));
        self.free.extend(new);
        self.range = range;
    }

    /// The holder's port.
    pub fn port_of(&self, holder: &H) -> Option<u16> {
        self.held.numbers.get(holder).copied()
    }

    /// Ports in use.
    pub fn held(&self) -> usize {
        self.held.numbers.len()
    }

    /// Who has one.
    pub fn holders(&self) -> impl Iterator<Item = &H> {
        self.held.numbers.keys()
    }

    /// Ports that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

/// Where ports are in use: engines behind one VPN share its addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolName {
    /// This machine's own.
    Host,
    /// Those of a VPN's container.
    Vpn(VpnName),
}

/// The pools of one node by name. An engine that needs several ports has several holders, one a purpose.
#[derive(Clone, Debug)]
pub struct Ports<H> {
    pools: BTreeMap<PoolName, PortPool<H>>,
}

impl<H: Clone + Ord> Default for Ports<H> {
    fn default() -> Self {
        Self {
            pools: BTreeMap::new(),
        }
    }
}

impl<H: Clone + Ord> Ports<H> {
    /// Makes a pool, or changes its range.
    pub fn set_range(&mut self, pool: PoolName, range: RangeInclusive<u16>) {
        match self.pools.get_mut(&pool) {
            Some(known) => known.set_range(range),
            None => {
                self.pools.insert(pool, PortPool::new(range));
            }
        }
    }

    /// One pool.
    pub fn pool(&self, pool: &PoolName) -> Option<&PortPool<H>> {
        self.pools.get(pool)
    }

    /// See [`PortPool::reserve`]; `None` also when there is no such pool.
    pub fn reserve(&mut self, pool: &PoolName, holder: H) -> Option<u16> {
        self.pools.get_mut(pool)?.reserve(holder)
    }

    /// See [`PortPool::adopt`]. A pool that is not there is made without a range: the port is known to be in use.
    ///
    /// # Errors
    /// [`Taken`] when somebody else has the port in this pool.
    pub fn adopt(&mut self, pool: PoolName, holder: H, port: u16) -> Result<(), Taken<H>> {
        let no_range = RangeInclusive::new(1, 0);
        let pool = self.pools.entry(pool);
        pool.or_insert_with(|| PortPool::new(no_range))
            .adopt(holder, port)
    }

    /// Gives back whatever the holder has in any pool; says how many ports that were.
    pub fn release(&mut self, holder: &H) -> usize {
        self.pools
            .values_mut()
            .filter_map(|pool| pool.release(holder))
            .count()
    }

    /// See [`PortPool::retain`], over all pools.
    pub fn retain(&mut self, keep: impl Fn(&H) -> bool) -> usize {
        self.pools.values_mut().map(|pool| pool.retain(&keep)).sum()
    }

    /// Ports in use in all pools.
    pub fn held(&self) -> usize {
        self.pools.values().map(PortPool::held).sum()
    }
}

/// Ports for the peers of an engine without a forwarded port that serves on `port`, the best first: all from 50,000 to
/// 59,999 but the port itself. Engines that serve on other ports begin with others, as far as 10,000 ports differ.
pub fn follower_ports(port: u16) -> impl Iterator<Item = u16> {
    const FIRST: u16 = 50_000;
    const COUNT: u16 = 10_000;
    let best = port % COUNT;
    let all = (0..COUNT).map(move |step| FIRST + (best + step) % COUNT);
    all.filter(move |other| *other != port)
}
