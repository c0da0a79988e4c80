//! How often what is kept is asked for, as one core counts it.
//!
//! A table with one place for each of a few thousand keys, by their hash. A request costs a look at one place, whatever
//! it holds: its own key is counted, another one loses a count, and who has none left gives the place up. So what comes
//! often keeps its place, and no count is ever too high. Once a second the counts are told and begin again.

use std::cell::RefCell;
use std::sync::Arc;

use weir_cache::Entry;
use weir_core::balance::hash_key;
use weir_core::warming::Asked;

use super::serve::Serving;
use super::warming::{HitBoard, HotKey, Told, Warming};
use super::wish::Wish;
use crate::data_plane::request::Routed;

/// Places of one core.
const PLACES: usize = 4_096;

#[derive(Clone, Debug, Default)]
struct Place {
    id: u64,
    times: u32,
    what: What,
}

/// What a place counts.
#[derive(Clone, Debug, Default)]
enum What {
    /// Nobody has said.
    #[default]
    Unsaid,
    /// What depends on who asks: nobody can ask ahead for it.
    Personal,
    /// What anybody would ask for.
    Hot(Arc<HotKey>),
}

/// The counts of one core.
#[derive(Debug)]
pub(in super::super) struct Hits {
    board: HitBoard,
    /// Empty until something is counted.
    places: RefCell<Vec<Place>>,
}

impl Hits {
    pub(in super::super) fn new(warming: &Warming) -> Self {
        Self {
            board: warming.board.clone(),
            places: RefCell::default(),
        }
    }

    /// Something was asked for; `hot` says what it is, and is asked once a second at most.
    fn count(&self, id: u64, hot: impl FnOnce() -> Option<HotKey>) {
        let mut places = self.places.borrow_mut();
        if let Some(place) = counted(&mut places, id)
            && let What::Unsaid = place.what
        {
            place.what = hot().map_or(What::Personal, |hot| What::Hot(Arc::new(hot)));
        }
    }

    /// Something was asked for, and what it is cannot be said yet.
    fn count_unsaid(&self, id: u64) {
        counted(&mut self.places.borrow_mut(), id);
    }

    /// Tells what was counted since the last time.
    pub(super) fn tell(&self) {
        let mut told = Vec::new();
        for place in self.places.borrow_mut().iter_mut() {
            if place.times > 0 {
                told.push(Told {
                    id: place.id,
                    times: std::mem::take(&mut place.times),
                    hot: match &place.what {
                        What::Hot(hot) => Some(Arc::clone(hot)),
                        What::Unsaid | What::Personal => None,
                    },
                });
                if let What::Personal = place.what {
                    // Others may ask for the same in a way that can be said.
                    place.what = What::Unsaid;
                }
            }
        }
        if !told.is_empty() {
            self.board.tell(told);
        }
    }
}

/// The place of `id`, which counts one more; nothing if another one has it.
fn counted(places: &mut Vec<Place>, id: u64) -> Option<&mut Place> {
    if places.is_empty() {
        places.resize(PLACES, Place::default());
    }
    let at = usize::try_from(id % PLACES as u64).unwrap_or(0);
    let place = &mut places[at];
    if place.id == id {
        place.times = place.times.saturating_add(1);
    } else if place.times > 0 {
        place.times -= 1;
        return None;
    } else {
        *place = Place {
            id,
            times: 1,
            what: What::Unsaid,
        };
    }
    Some(place)
}

impl Serving<'_> {
    /// What is kept answered.
    pub(super) fn count(&self, entry: &Entry) {
        let hits = &self.core.hits;
        if hits.board.is_wanted() {
            hits.count(id_of(entry), || hot_key(self.routed, &self.wish, entry));
        }
    }

    /// What was not kept, or not any more, is fetched.
    pub(super) fn count_fetch(&self) {
        let hits = &self.core.hits;
        if hits.board.is_wanted() {
            let resource = self.wish.resource(self.routed);
            hits.count_unsaid(resource.key_id());
        }
    }
}

/// A response as it is counted: variants of one key apart.
fn id_of(entry: &Entry) -> u64 {
    let key_id = entry.resource.key_id();
    match &entry.stored.variant {
        None => key_id,
        Some(variant) => {
            let mut both = [0; 16];
            both[..8].copy_from_slice(&key_id.to_be_bytes());
            both[8..].copy_from_slice(&hash_key(variant.key()).to_be_bytes());
            hash_key(&both)
        }
    }
}

/// As whom it does not concern would ask for it; nothing if it depends on who asks.
fn hot_key(routed: &Routed, wish: &Wish, entry: &Entry) -> Option<HotKey> {
    let target = routed.facing.target.as_ref().unwrap_or(&wish.target);
    let asked = Asked::new(
        routed.facing.scheme,
        &routed.facing.authority,
        target.as_str(),
    );
    let names = match &entry.stored.variant {
        Some(variant) => variant.by().names(),
        None => &[],
    };
    Some(HotKey {
        key: wish.key.as_str().into(),
        asked: asked.ok()?.with_all(names, &wish.headers)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot(name: &str) -> Option<HotKey> {
        Some(HotKey {
            key: name.into(),
            asked: Asked::of_url("a.example/").unwrap(),
        })
    }

    fn told(hits: &Hits) -> Vec<(u64, u32, bool)> {
        hits.tell();
        let told = hits.board.take();
        told.iter()
            .map(|told| (told.id, told.times, told.hot.is_some()))
            .collect()
    }

    #[test]
    fn counts_are_told_once_and_begin_again() {
        let hits = Hits::new(&Warming::new(1));
        hits.count_unsaid(7);
        hits.count(7, || hot("seven"));
        hits.count(7, || panic!("it is known"));
        hits.count(8, || hot("eight"));
        assert_eq!(told(&hits), [(7, 3, true), (8, 1, true)]);
        assert_eq!(told(&hits), []);
        hits.count(7, || panic!("it is still known"));
        assert_eq!(told(&hits), [(7, 1, true)]);
    }

    #[test]
    fn what_nobody_can_ask_ahead_for_is_looked_at_once_until_it_is_told() {
        let hits = Hits::new(&Warming::new(1));
        for _ in 0..2 {
            hits.count(7, || None);
            hits.count(7, || panic!("it is known"));
            assert_eq!(told(&hits), [(7, 2, false)]);
        }
        hits.count(7, || hot("seven"));
        assert_eq!(told(&hits), [(7, 1, true)]);
    }

    #[test]
    fn what_comes_often_keeps_its_place_and_no_count_is_too_high() {
        let hits = Hits::new(&Warming::new(1));
        for number in 0..100 {
            hits.count(5, || hot("often"));
            hits.count(5, || hot("often"));
            hits.count(5 + (number + 1) * PLACES as u64, || hot("once"));
        }
        let told = told(&hits);
        assert_eq!((told.len(), told[0].0), (1, 5));
        assert!((100..=200).contains(&told[0].1), "{told:?}");
    }

    #[test]
    fn what_is_told_and_not_taken_has_a_bound() {
        let hits = Hits::new(&Warming::new(1));
        for round in 0..3 {
            for id in 0..PLACES as u64 {
                hits.count(id, || hot("any"));
            }
            hits.tell();
            assert_eq!(hits.board.told_count(), PLACES, "round {round}");
        }
    }
}
