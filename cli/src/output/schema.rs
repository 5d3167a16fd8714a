//! The schemas of all documents, made of the structs that are written.

use std::{fs, io, path::Path};

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::{
    BackupResult, CleanupResult, CompletionsResult, CopyResult, DemoResult, DiffResult, DoctorResult, Envelope,
    ForgetResult, GenerateResult, HoldResult, InitResult, InventoryResult, KeyResult, ListResult, PlanResult,
    PruneResult, RepairResult, RestoreResult, ServeResult, ShowResult, StatsResult, VerifyResult, VersionResult,
    VsphereBackupResult, VsphereRestoreResult,
};

type Make = fn() -> Schema;

/// Command and schema.
const SCHEMAS: [(&str, Make); 27] = [
    ("backup", schema::<BackupResult>),
    ("completions", schema::<CompletionsResult>),
    ("copy", schema::<CopyResult>),
    ("demo", schema::<DemoResult>),
    ("diff", schema::<DiffResult>),
    ("forget", schema::<ForgetResult>),
    ("generate", schema::<GenerateResult>),
    ("hold", schema::<HoldResult>),
    ("init", schema::<InitResult>),
    ("key", schema::<KeyResult>),
    ("list", schema::<ListResult>),
    ("prune", schema::<PruneResult>),
    ("release", schema::<HoldResult>),
    ("repair", schema::<RepairResult>),
    ("restore", schema::<RestoreResult>),
    ("serve", schema::<ServeResult>),
    ("show", schema::<ShowResult>),
    ("stats", schema::<StatsResult>),
    ("strongroom", schema::<()>),
    ("verify", schema::<VerifyResult>),
    ("version", schema::<VersionResult>),
    ("vsphere.backup", schema::<VsphereBackupResult>),
    ("vsphere.cleanup", schema::<CleanupResult>),
    ("vsphere.doctor", schema::<DoctorResult>),
    ("vsphere.inventory", schema::<InventoryResult>),
    ("vsphere.plan", schema::<PlanResult>),
    ("vsphere.restore", schema::<VsphereRestoreResult>),
];

fn schema<R: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Envelope<R>>()
}

/// Writes `COMMAND.1.json` for each command into `folder`.
pub fn write_schemas(folder: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for (command, make) in SCHEMAS {
        let path = folder.join(format!("{command}.1.json"));
        let mut text = serde_json::to_string_pretty(&make())?;
        text.push('\n');
        fs::write(&path, text)?;
        files.push(path.display().to_string());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_in_the_documents_are_those_of_the_structs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas");
        for (command, make) in SCHEMAS {
            let path = folder.join(format!("{command}.1.json"));
            let found: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let wanted = serde_json::to_value(make()).unwrap();
            assert!(found == wanted, "{}: run strongroom generate schemas docs/schemas", path.display());
        }
    }
}
