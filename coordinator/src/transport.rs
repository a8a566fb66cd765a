//! Messages to the other replicas: one stream and one bounded queue for each.
//!
//! Messages are opaque bytes in order; a full queue or a broken stream drops them, and the replica is told that the peer
//! can't be reached. Raft tolerates every loss here, and repeats what matters. Snapshots go by a stream of their own, so
//! that heartbeats don't wait behind them.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use stockmesh_proto::raft::v1::raft_service_client::RaftServiceClient;
use stockmesh_proto::raft::v1::{SendRequest, SendSnapshotRequest};
use stockmesh_service::Dialer;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::driver::{Control, Handle, Peers};
use crate::storage::snapshots::{MANIFEST, Place, Snapshots};

/// Messages that wait for one peer; one more is dropped.
const PEER_QUEUE: usize = 1_024;
/// Snapshots that wait for one peer: Raft sends one at a time.
const SNAPSHOT_QUEUE: usize = 2;
/// Messages of one request, by count and bytes.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: usize = 1 << 20;
/// Requests handed to the connection and not sent yet.
const STREAM_QUEUE: usize = 8;
/// Largest request between replicas. A log entry is at most one command of a client (4 MiB) and what was gathered before
/// it: it must pass, because nothing behind it can commit until it does.
pub(crate) const MAX_RAFT_BYTES: usize = 16 << 20;
/// Largest piece of a snapshot's file.
const PIECE_BYTES: usize = 256 << 10;
/// Patience with a peer that accepts and stays silent, or takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest that storing a snapshot may take at the other side, after its last piece.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(120);
/// Bounds of the wait before a lost peer is dialled again.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

struct Queues {
    messages: mpsc::Sender<Message>,
    snapshots: mpsc::Sender<Message>,
}

/// The driver's end: hands messages to the peers' queues.
pub struct GrpcPeers {
    queues: BTreeMap<u64, Queues>,
}

/// The other end of one peer's queues.
pub struct PeerQueue {
    /// Raft id.
    pub peer: u64,
    messages: mpsc::Receiver<Message>,
    snapshots: mpsc::Receiver<Message>,
}

impl GrpcPeers {
    /// Queues to these peers.
    pub fn new(peers: impl Iterator<Item = u64>) -> (Self, Vec<PeerQueue>) {
        let (mut queues, mut ends) = (BTreeMap::new(), Vec::new());
        for peer in peers {
            let (message_sender, messages) = mpsc::channel(PEER_QUEUE);
            let (snapshot_sender, snapshots) = mpsc::channel(SNAPSHOT_QUEUE);
            queues.insert(peer, Queues { messages: message_sender, snapshots: snapshot_sender });
            ends.push(PeerQueue { peer, messages, snapshots });
        }
        (Self { queues }, ends)
    }
}

impl Peers for GrpcPeers {
    fn send(&mut self, message: Message) -> bool {
        let Some(queues) = self.queues.get(&message.to) else { return false };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            queues.snapshots.try_send(message).is_ok()
        } else {
            queues.messages.try_send(message).is_ok()
        }
    }
}

/// Serves one peer's queues until the driver is gone.
pub fn spawn(queue: PeerQueue, address: String, dialer: Dialer, handle: Handle) {
    let PeerQueue { peer, messages, snapshots } = queue;
    tokio::spawn(send_messages(peer, address.clone(), dialer.clone(), handle.clone(), messages));
    tokio::spawn(send_snapshots(peer, address, dialer, handle, snapshots));
}

fn client(channel: Channel) -> RaftServiceClient<Channel> {
    RaftServiceClient::new(channel).max_decoding_message_size(MAX_RAFT_BYTES).max_encoding_message_size(MAX_RAFT_BYTES)
}

async fn send_messages(peer: u64, address: String, dialer: Dialer, handle: Handle, mut queue: mpsc::Receiver<Message>) {
    let mut delay = REDIAL.0;
    let mut reachable = true;
    while let Some(first) = queue.recv().await {
        let (requests, outgoing) = mpsc::channel(STREAM_QUEUE);
        // There is room: it is the first one.
        let _ = requests.send(batch(&handle, first, &mut queue)).await;
        let session = async {
            let channel = dialer.channel(&address).map_err(|error| error.to_string())?;
            let opened = timeout(PATIENCE, client(channel).send(ReceiverStream::new(outgoing))).await;
            let mut answers = opened
                .map_err(|_| "no answer".to_owned())?
                .map_err(|status| stockmesh_service::status::explain(&status))?
                .into_inner();
            if !reachable {
                tracing::info!(peer, address, "replica reachable again");
            }
            (reachable, delay) = (true, REDIAL.0);
            loop {
                tokio::select! {
                    ended = answers.message() => {
                        return Err(ended.err().map_or_else(
                            || "the other side ended the stream".to_owned(),
                            |status| stockmesh_service::status::explain(&status),
                        ));
                    }
                    next = queue.recv() => {
                        let Some(next) = next else { return Ok(()) };
                        let request = batch(&handle, next, &mut queue);
                        match timeout(PATIENCE, requests.send(request)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return Err("the stream broke".to_owned()),
                            Err(_) => return Err("it takes nothing".to_owned()),
                        }
                    }
                }
            }
        };
        let ended: Result<(), String> = session.await;
        let Err(error) = ended else { return };
        if reachable {
            reachable = false;
            tracing::info!(peer, address, error, "replica not reachable; dialling on");
        }
        // What waits is stale by the time the peer is back.
        while queue.try_recv().is_ok() {}
        handle.tell(Control::Unreachable(peer)).await;
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(REDIAL.1);
    }
}

/// The first message and those that wait behind it.
fn batch(handle: &Handle, first: Message, queue: &mut mpsc::Receiver<Message>) -> SendRequest {
    let identity = handle.identity();
    let mut request = SendRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        messages: Vec::new(),
        store_id: Vec::new(),
    };
    let (mut next, mut bytes) = (Some(first), 0);
    while let Some(message) = next {
        // Encoding fails only for messages of 2 GiB, which Raft does not make; a lost one is repeated.
        if let Ok(encoded) = message.write_to_bytes() {
            bytes += encoded.len();
            request.messages.push(encoded.into());
        }
        if bytes >= BATCH_BYTES || request.messages.len() >= BATCH_MESSAGES {
            break;
        }
        next = queue.try_recv().ok();
    }
    request
}

async fn send_snapshots(
    peer: u64,
    address: String,
    dialer: Dialer,
    handle: Handle,
    mut queue: mpsc::Receiver<Message>,
) {
    while let Some(message) = queue.recv().await {
        let sent = send_snapshot(&address, &dialer, &handle, message).await;
        if let Err(error) = &sent {
            tracing::info!(peer, address, error, "a snapshot did not arrive; Raft tries again");
        }
        handle.tell(Control::SnapshotSent { peer, arrived: sent.is_ok() }).await;
    }
}

async fn send_snapshot(address: &str, dialer: &Dialer, handle: &Handle, message: Message) -> Result<(), String> {
    let metadata = message.get_snapshot().get_metadata();
    let place = Place { index: metadata.index, term: metadata.term };
    let identity = handle.identity();
    let first = SendSnapshotRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        message: message.write_to_bytes().map_err(|error| error.to_string())?,
        ..SendSnapshotRequest::default()
    };
    let (requests, outgoing) = mpsc::channel(STREAM_QUEUE);
    let snapshots = handle.snapshots().clone();
    let reader = tokio::task::spawn_blocking(move || read_pieces(&snapshots, place, first, &requests));
    let channel = dialer.channel(address).map_err(|error| error.to_string())?;
    let explain = |status: tonic::Status| stockmesh_service::status::explain(&status);
    let opened = timeout(PATIENCE, client(channel).send_snapshot(ReceiverStream::new(outgoing))).await;
    let mut answers = opened.map_err(|_| "no answer".to_owned())?.map_err(explain)?.into_inner();
    // The other side's patience counts from the last piece: sending may take as long as it takes. A stream that breaks ends
    // the reader, and the answer then says why.
    let read = reader.await.map_err(|error| error.to_string())?;
    let patience = if read.is_ok() { SNAPSHOT_PATIENCE } else { PATIENCE };
    let stored = timeout(patience, answers.message()).await.map_err(|_| "not stored in time".to_owned());
    let answer = stored.and_then(|answer| answer.map_err(explain)?.ok_or_else(|| "not stored".to_owned()));
    answer.map_err(|why| read.err().map_or(why.clone(), |broke| format!("{broke}: {why}"))).map(|_| ())
}

/// Reads a snapshot's files, the manifest first. Runs on a blocking thread: the queue makes it wait for the network.
fn read_pieces(
    snapshots: &Snapshots,
    place: Place,
    first: SendSnapshotRequest,
    requests: &mpsc::Sender<SendSnapshotRequest>,
) -> Result<(), String> {
    let wrong = |error: crate::storage::StorageFault| error.to_string();
    let send = |request| requests.blocking_send(request).map_err(|_| "the stream broke".to_owned());
    let (group, incarnation, from_replica) = (first.group, first.incarnation, first.from_replica);
    send(first)?;
    let manifest = snapshots.manifest(place).map_err(wrong)?;
    for name in std::iter::once(MANIFEST).chain(manifest.files.iter().map(|file| file.name.as_str())) {
        let mut file = snapshots.file(place, name).map_err(wrong)?;
        let mut offset = 0;
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            Read::by_ref(&mut file)
                .take(PIECE_BYTES as u64)
                .read_to_end(&mut piece)
                .map_err(|error| error.to_string())?;
            // An empty file has one empty piece, so that it is made.
            if piece.is_empty() && offset > 0 {
                break;
            }
            let (bytes, crc32) = (piece.len(), crc32fast::hash(&piece));
            send(SendSnapshotRequest {
                group,
                incarnation,
                from_replica,
                message: Vec::new(),
                file: name.to_owned(),
                offset,
                data: piece.into(),
                crc32,
                ..SendSnapshotRequest::default()
            })?;
            offset += bytes as u64;
            if bytes < PIECE_BYTES {
                break;
            }
        }
    }
    Ok(())
}
