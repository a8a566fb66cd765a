//! Client commands: one call, or one list read page by page, shown as asked.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use stockmesh_proto::feed::v1::FeedRef;
use stockmesh_proto::finance::v1 as wire;
use stockmesh_proto::finance::v1::feed_archive_service_client::FeedArchiveServiceClient;
use stockmesh_proto::finance::v1::ledger_head_service_client::LedgerHeadServiceClient;
use stockmesh_proto::finance::v1::ledger_service_client::LedgerServiceClient;
use stockmesh_service::output::{OutputFormat, print_error};
use stockmesh_service::page::MAX_PAGE_SIZE;
use stockmesh_service::{Cluster, Dialer, Security};
use tonic::Status;
use tonic::transport::Channel;

use super::{ArchiveCommand, Command, Common, Format, HeadCommand, refused, show, show_raw, usage};

/// How long a call goes on trying.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer that is taken.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why a command failed.
enum Failure {
    Status(Box<Status>),
    Io(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

pub(super) fn run(command: Command, common: &Common) -> ExitCode {
    let security = match Security::load(&common.tls, common.insecure_dev) {
        Ok(security) => security,
        Err(error) => return usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error),
    };
    match runtime.block_on(call(command, common, security)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Status(status)) => print_error(&status),
        Err(Failure::Io(error)) => refused(&error),
    }
}

fn ledger(channel: Channel) -> LedgerServiceClient<Channel> {
    LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

fn archive(channel: Channel) -> FeedArchiveServiceClient<Channel> {
    FeedArchiveServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

fn heads(channel: Channel) -> LedgerHeadServiceClient<Channel> {
    LedgerHeadServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

async fn call(command: Command, common: &Common, security: Security) -> Result<(), Failure> {
    let cluster = Cluster::new(Dialer::new(security), vec![common.address.clone()], DEADLINE);
    let output = common.output;
    match command {
        Command::TrialBalance { entity } => {
            let request = &wire::GetTrialBalanceRequest { entity };
            let answer =
                cluster.call(|channel| async move { ledger(channel).get_trial_balance(request.clone()).await }).await?;
            show::trial_balance(output, &answer);
        }
        Command::Journal { order, limit, page_token } => {
            let mut request = wire::ListJournalEntriesRequest { page_size: 0, page_token, order_id: order };
            let mut rows = Vec::new();
            while let Some(size) = page_of(limit, rows.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { ledger(channel).list_journal_entries(asked.clone()).await };
                let page = cluster.call(call).await?;
                rows.extend(page.entries);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            show::journal(output, &rows, &request.page_token);
        }
        Command::Suspense { limit, page_token } => {
            let mut request = wire::ListSuspenseRequest { page_size: 0, page_token };
            let mut rows = Vec::new();
            while let Some(size) = page_of(limit, rows.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { ledger(channel).list_suspense(asked.clone()).await };
                let page = cluster.call(call).await?;
                rows.extend(page.items);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            show::suspense(output, &rows, &request.page_token);
        }
        Command::StockValues { node, limit, page_token } => {
            let mut request = wire::ListStockValuesRequest { page_size: 0, page_token, node };
            let mut rows = Vec::new();
            while let Some(size) = page_of(limit, rows.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { ledger(channel).list_stock_values(asked.clone()).await };
                let page = cluster.call(call).await?;
                rows.extend(page.values);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            show::stock_values(output, &rows, &request.page_token);
        }
        Command::Status => {
            let request = wire::GetPostingStatusRequest {};
            let answer =
                cluster.call(|channel| async move { ledger(channel).get_posting_status(request).await }).await?;
            show::status(output, &answer);
        }
        Command::Export { format, entity, out } => export(&cluster, format, entity, &out, output).await?,
        Command::Archive(command) => call_archive(&cluster, command, output).await?,
        Command::Head(command) => call_heads(&cluster, command, output).await?,
        Command::Serve { .. } | Command::Verify { .. } | Command::Certs(_) | Command::Completions { .. } => {}
    }
    Ok(())
}

async fn call_archive(cluster: &Cluster, command: ArchiveCommand, output: OutputFormat) -> Result<(), Failure> {
    match command {
        ArchiveCommand::List { participant, limit, page_token } => {
            let mut request = wire::ListFeedsRequest { page_size: 0, page_token, participant };
            let mut rows = Vec::new();
            while let Some(size) = page_of(limit, rows.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { archive(channel).list_feeds(asked.clone()).await };
                let page = cluster.call(call).await?;
                rows.extend(page.feeds);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            show_raw::feeds(output, &rows, &request.page_token);
        }
        ArchiveCommand::Read { participant, destination, epoch, after, limit } => {
            let feed = Some(FeedRef { participant, destination, epoch });
            let mut request = wire::ReadFeedRequest { feed, after_seq: after, page_size: 0 };
            let (mut entries, mut head) = (Vec::new(), None);
            while let Some(size) = page_of(limit, entries.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { archive(channel).read_feed(asked.clone()).await };
                let page = cluster.call(call).await?;
                head = page.head;
                let Some(last) = page.entries.last() else { break };
                request.after_seq = last.seq;
                entries.extend(page.entries);
            }
            show_raw::entries(output, &entries, head.as_ref());
        }
    }
    Ok(())
}

async fn call_heads(cluster: &Cluster, command: HeadCommand, output: OutputFormat) -> Result<(), Failure> {
    match command {
        HeadCommand::Sign => {
            let request = wire::SignHeadRequest {};
            let answer = cluster.call(|channel| async move { heads(channel).sign_head(request).await }).await?;
            show_raw::heads(output, answer.head.as_slice(), "");
        }
        HeadCommand::List { limit, page_token } => {
            let mut request = wire::ListSignedHeadsRequest { page_size: 0, page_token };
            let mut rows = Vec::new();
            while let Some(size) = page_of(limit, rows.len()) {
                request.page_size = size;
                let asked = &request;
                let call = |channel| async move { heads(channel).list_signed_heads(asked.clone()).await };
                let page = cluster.call(call).await?;
                rows.extend(page.heads);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            show_raw::heads(output, &rows, &request.page_token);
        }
    }
    Ok(())
}

/// Size of the next page; `None` when enough rows are there.
fn page_of(limit: usize, have: usize) -> Option<i32> {
    let size = limit.saturating_sub(have).min(MAX_PAGE_SIZE);
    i32::try_from(size).ok().filter(|size| *size > 0)
}

async fn export(
    cluster: &Cluster,
    format: Format,
    entity: String,
    out: &Path,
    output: OutputFormat,
) -> Result<(), Failure> {
    let format = match format {
        Format::Beancount => wire::ExportFormat::Beancount,
        Format::Csv => wire::ExportFormat::Csv,
        Format::Hledger => wire::ExportFormat::Hledger,
    };
    let request = &wire::ExportLedgerRequest { format: format.into(), entity };
    let mut pieces =
        cluster.call(|channel| async move { ledger(channel).export_ledger(request.clone()).await }).await?;
    let io = |error: std::io::Error| Failure::Io(format!("{}: {error}", out.display()));
    // Beside the target, then renamed: nobody finds half an export under its name.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = std::fs::File::create(&partial).map_err(io)?;
    let mut bytes = 0_u64;
    while let Some(piece) = pieces.message().await? {
        bytes += piece.data.len() as u64;
        file.write_all(&piece.data).map_err(io)?;
    }
    file.sync_all().map_err(io)?;
    drop(file);
    std::fs::rename(&partial, out).map_err(io)?;
    show::exported(output, out, bytes);
    Ok(())
}
