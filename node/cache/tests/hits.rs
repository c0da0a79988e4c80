//! What a hit in memory costs.

#[path = "../benches/tiers/one_hit.rs"]
mod one_hit;

use self::one_hit::Stage;

#[test]
fn a_hit_allocates_nothing_but_the_two_parts_of_its_answers_fields() {
    let mut stage = Stage::new();
    assert!(stage.hit().is_some(), "it is kept and fresh");
    let allocated = allocation_counter::measure(|| drop(stage.hit()));
    assert_eq!(allocated.count_total, 2);
}
