//! A group that was restored from a backup: its state machine is not in this release, and every call says so.
//!
//! Who is asked is known before, so that a caller without a right learns nothing.

use stockmesh_proto::coordinator::v1::group_restore_service_server::GroupRestoreService;
use stockmesh_proto::coordinator::v1::{
    GetRestoreRequest, GetRestoreResponse, ReportLedgerRequest, ReportLedgerResponse, ReportRightsRequest,
    ReportRightsResponse,
};
use stockmesh_service::status::to_status;
use stockmesh_types::{PrincipalKind, Reason, Reject};
use tonic::{Request, Response, Status};

use super::{READERS, service};

service!(GroupRestores);

fn refused() -> Status {
    let message =
        "restoring a group from a backup is not in this release: a replica that lost its disk joins as a new member";
    to_status(&Reject::new(Reason::NotInThisRelease, message))
}

#[tonic::async_trait]
impl GroupRestoreService for GroupRestores {
    async fn report_rights(
        &self,
        request: Request<ReportRightsRequest>,
    ) -> Result<Response<ReportRightsResponse>, Status> {
        self.asked(&request, &[PrincipalKind::Node, PrincipalKind::User])?;
        Err(refused())
    }

    async fn report_ledger(
        &self,
        request: Request<ReportLedgerRequest>,
    ) -> Result<Response<ReportLedgerResponse>, Status> {
        self.asked(&request, &[PrincipalKind::Finance, PrincipalKind::User])?;
        Err(refused())
    }

    async fn get_restore(&self, request: Request<GetRestoreRequest>) -> Result<Response<GetRestoreResponse>, Status> {
        self.asked(&request, READERS)?;
        Err(refused())
    }
}
