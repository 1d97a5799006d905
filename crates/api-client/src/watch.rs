//! Watch streams: one JSON object per line, decoded straight into the caller's projection.

use std::borrow::Cow;
use std::pin::Pin;

use api_meta::Status;
use bytes::{Buf, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{Body, BodyStream, Error, Response};

/// Where and what to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Label selector in text form.
    pub labels: String,
    /// Field selector in text form.
    pub fields: String,
    /// Version after which to start.
    pub resource_version: String,
    /// The server ends the watch after so long.
    pub timeout_seconds: Option<u32>,
}

/// One event of a watch.
#[derive(Debug)]
pub enum WatchEvent<T> {
    /// Added or modified.
    Applied(T),
    /// Deleted, with its last state.
    Deleted(T),
    /// Nothing up to this version is missing.
    Bookmark(String),
}

/// Events in the order of their versions; ends when the server ends the watch. A 410 comes as an error of class `Expired`.
pub type WatchStream<T> = Pin<Box<dyn Stream<Item = Result<WatchEvent<T>, Error>> + Send>>;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Longest event accepted.
const LINE_BYTES_MAX: usize = 16 << 20;

pub(crate) fn decode<T: DeserializeOwned + Send + 'static>(
    response: Response,
    path: String,
) -> WatchStream<T> {
    let chunks: BodyStream = match response.into_body() {
        Body::Full(bytes) => Box::pin(stream::iter([Ok(bytes)])),
        Body::Stream(chunks) => chunks,
    };
    let state = (chunks, BytesMut::new(), path);
    Box::pin(stream::try_unfold(state, |(mut chunks, mut buffer, path)| async move {
        // How much of the buffer holds no end of a line: a long event in many chunks is looked through once.
        let mut searched = 0;
        loop {
            if let Some(end) = buffer[searched..].iter().position(|b| *b == b'\n') {
                let line = buffer.split_to(searched + end);
                buffer.advance(1);
                searched = 0;
                if line.is_empty() {
                    continue;
                }
                let event = event(&line, &path)?;
                return Ok(Some((event, (chunks, buffer, path))));
            }
            searched = buffer.len();
            if buffer.len() > LINE_BYTES_MAX {
                return Err(Error::Unreachable(format!(
                    "watch event of {path} is longer than {LINE_BYTES_MAX} bytes"
                )));
            }
            match chunks.next().await {
                Some(chunk) => buffer.extend_from_slice(&chunk?),
                None => return Ok(None),
            }
        }
    }))
}

fn event<T: DeserializeOwned>(line: &[u8], path: &str) -> Result<WatchEvent<T>, Error> {
    let unreadable = |source| Error::Unreadable { what: format!("watch {path}"), source };
    let line: Line<'_> = serde_json::from_slice(line).map_err(unreadable)?;
    let object = line.object.get();
    match &*line.kind {
        "ADDED" | "MODIFIED" => serde_json::from_str(object).map(WatchEvent::Applied).map_err(unreadable),
        "DELETED" => serde_json::from_str(object).map(WatchEvent::Deleted).map_err(unreadable),
        "BOOKMARK" => {
            let mark: crate::MetaOnly = serde_json::from_str(object).map_err(unreadable)?;
            Ok(WatchEvent::Bookmark(mark.metadata.resource_version))
        }
        _ => {
            let status: Status = serde_json::from_str(object).map_err(unreadable)?;
            Err(Error::refused(status))
        }
    }
}

#[cfg(test)]
mod tests {
    use api_meta::ObjectMeta;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Meta {
        metadata: ObjectMeta,
    }

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        let text = "{\"type\":\"ADD\\u0045D\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n\n{\"type\":\"DELETED\",\"object\":{}}\n";
        for size in 1..text.len() {
            let chunks: Vec<_> =
                text.as_bytes().chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
            let response = http::Response::new(Body::Stream(Box::pin(stream::iter(chunks))));
            let events = decode::<Meta>(response, String::new()).collect::<Vec<_>>().now_or_never().unwrap();
            let [Ok(WatchEvent::Applied(first)), Ok(WatchEvent::Deleted(_))] = events.as_slice() else {
                panic!("{size}: {events:?}")
            };
            assert_eq!(first.metadata.name, "a");
        }
    }
}
