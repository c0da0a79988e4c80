//! `weir.node.v1.Events`: what happens on the node.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::events_server::Events as Service;

use crate::events::{Asked, Events};

/// The service.
pub(super) struct EventsService {
    pub(super) events: Events,
}

type EventLists = Pin<Box<dyn Stream<Item = Result<pb::EventList, Status>> + Send>>;

fn asked(request: &Request<pb::EventsRequest>) -> Result<Asked, Status> {
    let pb::EventsRequest { since, kinds } = request.get_ref();
    Asked::parse(since, kinds.iter().map(String::as_str))
        .map_err(|bad| Status::invalid_argument(bad.to_string()))
}

#[tonic::async_trait]
impl Service for EventsService {
    async fn list_events(
        &self,
        request: Request<pb::EventsRequest>,
    ) -> Result<Response<pb::EventList>, Status> {
        let asked = asked(&request)?;
        Ok(Response::new(self.events.list(&asked).await))
    }

    type WatchEventsStream = EventLists;

    async fn watch_events(
        &self,
        request: Request<pb::EventsRequest>,
    ) -> Result<Response<EventLists>, Status> {
        let Asked { since, wanted } = asked(&request)?;
        let (events, mut first) = (self.events.clone(), since.clone());
        let pages = self.events.follow(since, wanted);
        Ok(Response::new(Box::pin(pages.map(move |page| {
            Ok(events.described(&page, first.take().as_ref()))
        }))))
    }
}
