//! `strongroom demo`: the main job on a sample VM, by the very commands that a person types.

mod sample;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::Done;
use crate::{
    args::{DemoArgs, GlobalArgs},
    exit::Exit,
    failure::Failure,
    output::DemoResult,
    units,
};
use stage::{Said, Stage};

/// Where shards end in a new repository; the first frame of a pack begins there.
const SHARD_BYTES: u64 = 65_536;

/// Runs the tour.
pub fn run(global: &GlobalArgs, args: &DemoArgs) -> Result<Done, Failure> {
    let begun = Instant::now();
    let folder = Folder::make(args)?;
    let mut stage = Stage::new(folder.path(), global.json.is_none() && !global.quiet)?;
    let outcome = tour(&mut stage);
    let steps = stage.into_steps();
    let kept = folder.end(args.keep);
    let failure = outcome.err();
    let result = DemoResult { steps, elapsed_seconds: begun.elapsed().as_secs_f64(), folder: kept };
    let done = Done::with(result);
    Ok(match failure {
        Some(failure) => done.but(failure),
        None => done,
    })
}

/// The steps, in the order a person would take them.
fn tour(stage: &mut Stage) -> Result<(), Failure> {
    stage.step(
        "sample VM web01: disk0 256 MiB, disk1 64 MiB, VM home with keyId, bundle, policy, NVRAM; web02, its clone",
        |stage| {
            sample::make(stage.folder()).map_err(|error| stage.broken(&error))?;
            Ok("made".to_owned())
        },
    )?;
    stage.step("a repository with a key slot and a recovery key", |stage| {
        let said = stage.type_in(&["init", "--recovery-key-out", "recovery-key.txt", "--kdf-memory", "64M"])?;
        Ok(format!("repository {}", said.short("/result/id")))
    })?;

    let mut night_1_ms = 0;
    stage.step("night 1 of web01", |stage| {
        let said = stage.type_in(&WEB01)?;
        night_1_ms = stage.newest_time("web01")?;
        Ok(figures(&said))
    })?;
    stage.step("web02, a clone of web01, costs next to nothing", |stage| {
        let said = stage.type_in(&["backup", "--vm", "web02", "web02-disk0.img"])?;
        let (read, new) = (said.sum("read_bytes"), said.sum("new_bytes"));
        stage
            .check(new.saturating_mul(4) < read, &format!("{} of {} were new", units::size(new), units::size(read)))?;
        Ok(figures(&said))
    })?;
    // Times are typed to the second: night 2 must begin in a later one.
    let asked_ms = night_1_ms.div_ceil(1000) * 1000;
    stage.step("night 2 of web01, after a day of work on it", |stage| {
        stage.wait_until(asked_ms + 1)?;
        sample::work_a_day(stage.folder()).map_err(|error| stage.broken(&error))?;
        let said = stage.type_in(&WEB01)?;
        let (read, new) = (said.sum("read_bytes"), said.sum("new_bytes"));
        stage
            .check(new.saturating_mul(4) < read, &format!("{} of {} were new", units::size(new), units::size(read)))?;
        Ok(figures(&said))
    })?;
    stage.step("list", |stage| {
        let said = stage.type_in(&["list", "web01"])?;
        let points = said.array("/result/points").len();
        stage.check(points == 2, &format!("{points} points were listed"))?;
        Ok(format!("{points} points of web01"))
    })?;
    stage.step("verify: every frame opened, every chunk hashed again", |stage| {
        let said = stage.type_in(&["verify", "--read-data"])?;
        let problems = said.array("/result/problems").len();
        stage.check(problems == 0, &format!("{problems} problems"))?;
        Ok(format!("{} points, 0 problems", said.number("/result/points_checked")))
    })?;
    stage.step("night 1 comes back: sparse files, VM home and NVRAM, equal to the originals", |stage| {
        let selector = format!("web01@{}", selector_time(asked_ms));
        let home = ["--vm-home-out", "restored/web01.json", "--nvram-out", "restored/web01.nvram"];
        fs::create_dir(stage.folder().join("restored")).map_err(|error| stage.broken(&error))?;
        stage.type_in(&[&["restore", &selector, "--to", "restored"][..], &home].concat())?;
        let compared = sample::compare_night_1(stage.folder(), &stage.folder().join("restored"));
        match compared.map_err(|error| stage.broken(&error))? {
            None => Ok("equal, byte for byte".to_owned()),
            Some(differs) => Err(stage.failed(&differs)),
        }
    })?;
    stage.step("one byte flipped in a copy: verify names pack, point, disk and range", |stage| {
        let pack = damage_a_copy(stage.folder()).map_err(|error| stage.broken(&error))?;
        let said = stage.type_in_expecting(&["-r", "damaged-copy", "verify", "--read-data"], Exit::Damaged)?;
        let named = said.text().contains(&pack) && said.text().contains("\"lost_bytes\":");
        stage.check(named, &format!("pack {pack} was damaged and not named"))?;
        let first = said.array("/result/problems").first().cloned().unwrap_or_default();
        let cost = first.pointer("/costs/0").cloned().unwrap_or_default();
        let text = |key: &str| cost.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let start = cost.pointer("/ranges/0/start_bytes").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let lost = cost.get("lost_bytes").and_then(serde_json::Value::as_u64).unwrap_or_default();
        Ok(format!(
            "pack {}: {} {} loses {} from byte {start}",
            pack.get(..8).unwrap_or(&pack),
            text("vm"),
            text("disk"),
            units::size(lost)
        ))
    })
}

const WEB01: [&str; 11] = [
    "backup",
    "--vm",
    "web01",
    "--disk",
    "disk0=web01-disk0.img",
    "--disk",
    "disk1=web01-disk1.img",
    "--vm-home",
    "web01.json",
    "--nvram",
    "web01.nvram",
];

fn figures(said: &Said) -> String {
    let bytes = |field| units::size(said.sum(field));
    format!(
        "read {}   new {}   stored {}",
        bytes("read_bytes"),
        bytes("new_bytes"),
        units::size(said.number("/result/stored_bytes"))
    )
}

/// A time as a person types it: local, or with an offset where the clock shows it twice.
fn selector_time(time_ms: u64) -> String {
    units::utc(time_ms).replace(".000Z", "Z")
}

/// Copies the repository and flips one byte in the first frame of its largest data pack; gives the pack's name.
fn damage_a_copy(folder: &Path) -> std::io::Result<String> {
    let copy = folder.join("damaged-copy");
    copy_folder(&folder.join("repository"), &copy)?;
    let mut largest: Option<(u64, PathBuf)> = None;
    for group in fs::read_dir(copy.join("packs"))? {
        for pack in fs::read_dir(group?.path())? {
            let pack = pack?;
            let bytes = pack.metadata()?.len();
            if largest.as_ref().is_none_or(|(most, _)| bytes > *most) {
                largest = Some((bytes, pack.path()));
            }
        }
    }
    let (_, path) = largest.ok_or_else(|| std::io::Error::other("the repository has no packs"))?;
    sample::flip_byte(&path, SHARD_BYTES + 1000)?;
    Ok(path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}

/// Where the tour takes place: gone at the end, also after Ctrl-C, unless it shall be kept.
enum Folder {
    Temporary(tempfile::TempDir),
    Named { path: PathBuf, made: bool },
}

impl Folder {
    fn make(args: &DemoArgs) -> Result<Self, Failure> {
        let failed = |error: std::io::Error, place: String| {
            Failure::new(Exit::Failed, format!("the folder cannot be made: {error}"), place, "--dir DIR")
        };
        let Some(path) = &args.dir else {
            let made = tempfile::Builder::new().prefix("strongroom-demo-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(|error| failed(error, std::env::temp_dir().display().to_string()));
        };
        let made = !path.exists();
        fs::create_dir_all(path).map_err(|error| failed(error, path.display().to_string()))?;
        let path = fs::canonicalize(path).map_err(|error| failed(error, path.display().to_string()))?;
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::new(
                Exit::Invalid,
                "--dir: the folder is not empty",
                path.display(),
                "name an empty or new folder",
            ));
        }
        Ok(Self::Named { path, made })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Named { path, .. } => path,
        }
    }

    /// Gives the folder's name if it was kept.
    fn end(self, keep: bool) -> Option<String> {
        match self {
            Self::Temporary(folder) if keep => Some(folder.keep().display().to_string()),
            Self::Named { path, .. } if keep => Some(path.display().to_string()),
            Self::Temporary(folder) => {
                let _ = folder.close();
                None
            }
            Self::Named { path, made } => {
                // It was empty, so all that is in it is ours.
                let _ = fs::remove_dir_all(&path);
                if !made {
                    let _ = fs::create_dir(&path);
                }
                None
            }
        }
    }
}

/// How long a step may sleep between looks at the signals.
const LOOK_EVERY: Duration = Duration::from_millis(50);
