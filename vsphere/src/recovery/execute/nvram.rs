//! The NVRAM file: beside the new VM's vmx, before the first power-on, and read back.

use super::{RestoreVmError, RestoreVmJob};
use crate::{
    datastore_file::{DatastorePath, read_datastore_file, write_datastore_file},
    inventory::config_of,
    recovery::NvramPlan,
    soap::ManagedObject,
};

/// Uploads it if that was decided.
pub(super) fn upload(job: &RestoreVmJob<'_>, vm: &ManagedObject) -> Result<(), RestoreVmError> {
    if !matches!(job.recovery.nvram, NvramPlan::Upload { .. }) {
        return Ok(());
    }
    let contradiction = |what: &str| RestoreVmError::Contradiction { vm: job.name(), what: what.to_owned() };
    let failed = |source| RestoreVmError::Nvram { vm: job.name(), source };
    let content = job.point.nvram.as_ref().ok_or_else(|| contradiction("there is no NVRAM to upload"))?;
    let config = config_of(job.session, vm)?;
    let vmx = config.text_at("files.vmPathName").unwrap_or_default();
    let vmx: DatastorePath =
        vmx.parse().map_err(|error| failed(crate::datastore_file::DatastoreFileError::Path(error)))?;
    let stem = vmx.file_name().strip_suffix(".vmx").unwrap_or(vmx.file_name());
    let place = vmx.folder().join(&format!("{stem}.nvram"));
    let dc_path = &job.target.place.dc_path;
    write_datastore_file(job.session, dc_path, &place, content).map_err(failed)?;
    match read_datastore_file(job.session, dc_path, &place).map_err(failed)? {
        Some(back) if back == **content => Ok(()),
        _ => Err(RestoreVmError::NvramDiffers { vm: job.name() }),
    }
}
