//! Answers from the cache, and what is fetched for it.
//!
//! ```text
//! wish      what the request wants of the cache, and under which key        wish.rs
//! serve     from memory, past the cache, or by way of a fetch               serve.rs
//! look      what is kept, and whether it answers                              look.rs
//! join      beside others' fetch, or by a fetch of its own                  join.rs
//! fetch     a fetch: belongs to its core, not to the client that began it   fetch/
//! answered  what comes of it                                            answered.rs
//! pieces    its body on the way into a fill                                 pieces.rs
//! peers     the tier of the other nodes                                     peers.rs
//! standing  how those nodes stand                                         standing.rs
//! breaks    keys for which they break off                                 breaks.rs
//! redis     the tier that nodes share                                       redis.rs
//! answer    a stored response as this client gets it                        answer.rs
//! coded     in which coding that is                                         coded.rs
//! body      its body on the way to the client                               body.rs
//! parts     parts of it, and long forms of it                               parts.rs
//! warm      what is fetched before anybody asks for it                      warm.rs, warming.rs
//! head      what an answer to HEAD says of what is kept                     head.rs
//! hits      how often what is kept is asked for                             hits.rs
//! ```
//!
//! A fetch goes the way of every request (`forward/`). Who waits for one waits for an event, and at most as long as
//! the fetch itself may take.

mod answer;
mod answered;
mod body;
mod breaks;
mod coded;
mod fetch;
mod head;
mod hits;
mod invalidate;
mod join;
mod look;
mod parts;
mod peers;
mod pieces;
mod redis;
mod serve;
mod standing;
mod warm;
pub mod warming;
mod wish;

pub(super) use self::body::CachedBody;
pub(super) use self::hits::Hits;
pub use self::peers::CachePeers;
pub(super) use self::peers::without_told;
pub(super) use self::serve::serve;
pub(super) use self::warm::warm;
