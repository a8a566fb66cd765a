//! Messages to the other replicas: one stream and one bounded queue for each.
//!
//! Messages are opaque bytes in order; a full queue or a broken stream drops them, and the replica is told that the peer
//! can't be reached. Raft tolerates every loss here, and repeats what matters. Snapshots go by a stream of their own, so
//! that heartbeats don't wait behind them.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use stockmesh_proto::raft::v1::raft_service_client::RaftServiceClient;
use stockmesh_proto::raft::v1::replica_service_client::ReplicaServiceClient;
use stockmesh_proto::raft::v1::{
    GetSnapshotProgressRequest, GetSnapshotProgressResponse, SendRequest, SendSnapshotRequest,
};
use stockmesh_service::Dialer;
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::driver::{Control, Handle, Peers};
use crate::replica::members::{MAX_MEMBERS, Members};
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
/// Longest that one piece of a snapshot may wait to be taken.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);
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
    me: u64,
    queues: BTreeMap<u64, Queues>,
    opened: mpsc::Sender<PeerQueue>,
}

/// The other end of one peer's queues.
pub struct PeerQueue {
    /// Raft id.
    peer: u64,
    /// host:port.
    address: String,
    messages: mpsc::Receiver<Message>,
    snapshots: mpsc::Receiver<Message>,
}

impl GrpcPeers {
    /// Without peers yet: the driver names them. What it opens is to be served by [`serve_queues`].
    #[must_use]
    pub fn new(me: u64) -> (Self, mpsc::Receiver<PeerQueue>) {
        let (opened, queues) = mpsc::channel(MAX_MEMBERS);
        (Self { me, queues: BTreeMap::new(), opened }, queues)
    }
}

/// Serves the queues that the driver opens, until it is gone.
pub async fn serve_queues(mut opened: mpsc::Receiver<PeerQueue>, dialer: Dialer, handle: Handle) {
    while let Some(PeerQueue { peer, address, messages, snapshots }) = opened.recv().await {
        tokio::spawn(send_messages(peer, address.clone(), dialer.clone(), handle.clone(), messages));
        tokio::spawn(send_snapshots(peer, address, dialer.clone(), handle.clone(), snapshots));
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

    fn members(&mut self, members: &Members) {
        // The senders of a queue being dropped ends the tasks that serve it.
        let wanted: BTreeMap<u64, &str> = members.addresses().filter(|(peer, _)| *peer != self.me).collect();
        self.queues.retain(|peer, _| wanted.contains_key(peer));
        for (peer, address) in wanted {
            if self.queues.contains_key(&peer) {
                continue;
            }
            let (message_sender, messages) = mpsc::channel(PEER_QUEUE);
            let (snapshot_sender, snapshots) = mpsc::channel(SNAPSHOT_QUEUE);
            let queue = PeerQueue { peer, address: address.to_owned(), messages, snapshots };
            // Full only while the process goes down: a group has fewer members than the queue has places.
            if self.opened.try_send(queue).is_ok() {
                self.queues.insert(peer, Queues { messages: message_sender, snapshots: snapshot_sender });
            }
        }
    }
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
            let channel = dialer.channel(&address).map_err(|error| Lost::from(error.to_string()))?;
            let opened = timeout(PATIENCE, client(channel).send(ReceiverStream::new(outgoing))).await;
            let mut answers =
                opened.map_err(|_| Lost::from("no answer"))?.map_err(|status| Lost::of(&status))?.into_inner();
            if !reachable {
                tracing::info!(peer, address, "replica reachable again");
            }
            (reachable, delay) = (true, REDIAL.0);
            loop {
                tokio::select! {
                    ended = answers.message() => {
                        return Err(ended.err().map_or_else(
                            || Lost::from("the other side ended the stream"),
                            |status| Lost::of(&status),
                        ));
                    }
                    next = queue.recv() => {
                        let Some(next) = next else { return Ok(()) };
                        let request = batch(&handle, next, &mut queue);
                        match timeout(PATIENCE, requests.send(request)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return Err(Lost::from("the stream broke")),
                            Err(_) => return Err(Lost::from("it takes nothing")),
                        }
                    }
                }
            }
        };
        let ended: Result<(), Lost> = session.await;
        let Err(Lost { error, refused }) = ended else { return };
        if refused {
            handle.tell(Control::Refused { peer, why: error }).await;
            return;
        }
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

/// Why a stream ended.
struct Lost {
    error: String,
    /// The peer has proof that this replica must not go on.
    refused: bool,
}

impl Lost {
    fn of(status: &tonic::Status) -> Self {
        Self { error: stockmesh_service::status::explain(status), refused: is_expelled(status) }
    }
}

impl<T: Into<String>> From<T> for Lost {
    fn from(error: T) -> Self {
        Self { error: error.into(), refused: false }
    }
}

/// True when a peer says that this replica's disk or id is not a member's.
pub(crate) fn is_expelled(status: &tonic::Status) -> bool {
    matches!(known_reason(status), Some(Reason::StoreReplaced | Reason::MemberRemoved))
}

/// The first message and those that wait behind it.
fn batch(handle: &Handle, first: Message, queue: &mut mpsc::Receiver<Message>) -> SendRequest {
    let identity = handle.identity();
    let mut request = SendRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        messages: Vec::new(),
        store_id: handle.store().to_vec(),
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
        store_id: handle.store().to_vec(),
        ..SendSnapshotRequest::default()
    };
    let channel = dialer.channel(address).map_err(|error| error.to_string())?;
    let there = progress(handle, channel.clone(), place).await;
    let first = SendSnapshotRequest { resumes: there.is_some(), ..first };
    let (requests, outgoing) = mpsc::channel(STREAM_QUEUE);
    let snapshots = handle.snapshots().clone();
    let there = there.unwrap_or_default();
    let reader = tokio::task::spawn_blocking(move || read_pieces(&snapshots, place, first, &there, &requests));
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

/// What the other side has of the snapshot already; `None` when it can't say, as replicas of the first release can't.
async fn progress(handle: &Handle, channel: Channel, place: Place) -> Option<GetSnapshotProgressResponse> {
    let identity = handle.identity();
    let request = GetSnapshotProgressRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        index: place.index,
        term: place.term,
    };
    let answer = timeout(PATIENCE, ReplicaServiceClient::new(channel).get_snapshot_progress(request)).await;
    answer.ok()?.ok().map(tonic::Response::into_inner)
}

/// Reads a snapshot's files, the manifest first. Runs on a blocking thread: the queue makes it wait for the network.
fn read_pieces(
    snapshots: &Snapshots,
    place: Place,
    first: SendSnapshotRequest,
    there: &GetSnapshotProgressResponse,
    requests: &mpsc::Sender<SendSnapshotRequest>,
) -> Result<(), String> {
    let wrong = |error: crate::storage::StorageFault| error.to_string();
    let runtime = tokio::runtime::Handle::current();
    let send = |request| match runtime.block_on(timeout(PIECE_PATIENCE, requests.send(request))) {
        Ok(sent) => sent.map_err(|_| "the stream broke".to_owned()),
        Err(_) => Err("it takes nothing".to_owned()),
    };
    let (group, incarnation, from_replica) = (first.group, first.incarnation, first.from_replica);
    send(first)?;
    if there.complete {
        return Ok(());
    }
    let manifest = snapshots.manifest(place).map_err(wrong)?;
    for name in std::iter::once(MANIFEST).chain(manifest.files.iter().map(|file| file.name.as_str())) {
        let mut file = snapshots.file(place, name).map_err(wrong)?;
        let mut offset = there.files.iter().find(|file| file.name == *name).map_or(0, |file| file.bytes);
        file.seek(SeekFrom::Start(offset)).map_err(|error| error.to_string())?;
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
