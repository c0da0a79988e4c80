//! Who comes most often, in bounded memory.

/// How many times something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// At most as often as this.
    pub count: u64,
    /// At least `count` less this.
    pub error: u64,
}

/// The SpaceSaving counter (Metwally, Agrawal, El Abbadi 2005): whatever came more often than one in `capacity` is in it.
#[derive(Clone, Debug)]
pub struct SpaceSaving<K> {
    capacity: usize,
    keys: Vec<K>,
}

impl<K: Ord + Clone> SpaceSaving<K> {
    /// Counts up to `capacity` keys (at least one) at a time.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            keys: Vec::new(),
        }
    }

    /// It came once more.
    pub fn count(&mut self, key: &K) -> Counted {
        self.keys.push(key.clone());
        panic!("not written yet: {}", self.capacity)
    }

    /// How often it came; none: less often than whatever is counted.
    pub fn get(&self, _key: &K) -> Option<Counted> {
        panic!("not written yet")
    }

    /// The most frequent ones, the first first.
    pub fn top(&self, _most: usize) -> Vec<(K, Counted)> {
        panic!("not written yet")
    }

    /// A new window begins: everything is forgotten.
    pub fn reset(&mut self) {
        self.keys.clear();
    }
}
