//! Signed heads of the journal's chain: signed on request, and listed.

use stockmesh_proto::finance::v1::ledger_head_service_server::LedgerHeadService;
use stockmesh_proto::finance::v1::{
    ListSignedHeadsRequest, ListSignedHeadsResponse, SignHeadRequest, SignHeadResponse,
};
use stockmesh_service::page::{decode_token, page_size};
use tonic::{Request, Response, Status};

use super::readers::{Readers, refused};
use super::wire::{next_token, signed_head};
use crate::writer::WriterHandle;

/// The service of signed heads.
#[derive(Clone)]
pub struct Heads {
    readers: Readers,
    writer: WriterHandle,
}

impl Heads {
    /// Over the books and their writer.
    #[must_use]
    pub fn new(readers: Readers, writer: WriterHandle) -> Self {
        Self { readers, writer }
    }
}

#[tonic::async_trait]
impl LedgerHeadService for Heads {
    async fn sign_head(&self, request: Request<SignHeadRequest>) -> Result<Response<SignHeadResponse>, Status> {
        self.readers.allow(&request)?;
        let signed = self.writer.sign_head().await.map_err(refused)?;
        let finance_id = self.readers.read(|reader| reader.finance_id()).await?;
        Ok(Response::new(SignHeadResponse { head: Some(signed_head(&finance_id, signed)) }))
    }

    async fn list_signed_heads(
        &self,
        request: Request<ListSignedHeadsRequest>,
    ) -> Result<Response<ListSignedHeadsResponse>, Status> {
        self.readers.allow(&request)?;
        let ListSignedHeadsRequest { page_size: size, page_token } = request.into_inner();
        let size = page_size(size).map_err(refused)?;
        let after = decode_token::<u64>("heads", &page_token).map_err(refused)?;
        let read = move |reader: &crate::store::Reader| Ok((reader.signed_heads(after, size)?, reader.finance_id()?));
        let (page, finance_id) = self.readers.read(read).await?;
        let next_page_token = next_token("heads", &page, |head| head.head.number.to_string());
        let heads = page.rows.into_iter().map(|head| signed_head(&finance_id, head)).collect();
        Ok(Response::new(ListSignedHeadsResponse { heads, next_page_token }))
    }
}
