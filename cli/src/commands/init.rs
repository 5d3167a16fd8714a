//! `strongroom init`: a new repository, its first key slot, and the recovery key, shown once.

use std::path::Path;

use engine::{NewRepository, NewSlotSecret, init, random};
use repo_format::{ChunkerKind, Config, KdfCost, RecoveryKey, RepositoryId, SlotSecret};
use zeroize::Zeroizing;

use super::{Done, check_absent, warning, write_private};
use crate::{
    args::{ChunkerChoice, GlobalArgs, InitArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{HeadLine, InitResult, RepositoryLine},
    secrets::{self, Secret},
    terminal, units,
};

/// Makes a repository.
pub fn run(global: &GlobalArgs, args: &InitArgs) -> Result<Done, Failure> {
    let chunker = match args.chunker {
        ChunkerChoice::Block => ChunkerKind::Block,
        ChunkerChoice::Fastcdc => ChunkerKind::FastCdc,
    };
    let chunking = units::parse_chunk_sizes(&args.chunk_size, chunker)
        .map_err(|what| Failure::invalid(format!("--chunk-size {what}"), "--chunk-size 16K,64K,256K"))?;
    let cost = kdf_cost(args.kdf_memory)?;
    if let Some(path) = &args.recovery_key_out {
        check_absent(path, "--recovery-key-out")?;
    } else if !args.no_recovery_key && !terminal::can_ask() {
        return Err(Failure::invalid(
            "nobody is there to be shown the recovery key; nothing was written",
            "--recovery-key-out FILE, or --no-recovery-key",
        ));
    }
    let (store, path) = opening::store(global)?;
    refuse_occupied(&path)?;
    let environment = opening::environment(global, store)?;
    let Secret { secret, warnings } = secrets::read(&secrets::choose_here(&global.secrets())?, true)?;
    secrets::check_strength(&secret)?;

    let recovery_key = (!args.no_recovery_key).then(|| RecoveryKey::from_random(random(environment.entropy.as_ref())));
    let text = recovery_key.as_ref().map(RecoveryKey::to_text);
    if let Some(text) = &text {
        hand_over(text, args.recovery_key_out.as_deref(), "--recovery-key-out")?;
    }
    let mut slots = vec![NewSlotSecret { secret, label: "first".to_owned(), cost }];
    slots.extend(recovery_key.map(|key| NewSlotSecret {
        secret: SlotSecret::RecoveryKey(key),
        label: "recovery".to_owned(),
        cost,
    }));
    let mut config = Config::new(RepositoryId::from_bytes([0; 16]), chunking, 0);
    config.single_writer = args.single_writer;
    config.parity_rate = args.parity;
    let place = path.display();
    let made = init(environment, NewRepository { config, slots });
    let (_, report) = made.map_err(|error| {
        if let Some(path) = &args.recovery_key_out {
            // It opens nothing: the repository was not made.
            let _ = std::fs::remove_file(path);
        }
        let failure = Failure::of(&error, error.kind(), &place);
        // The command line was right: it is the folder that will not do.
        if failure.exit == Exit::Invalid { Failure { exit: Exit::Failed, ..failure } } else { failure }
    })?;

    let head = HeadLine::of(report.head);
    let result = InitResult {
        id: report.repository.to_string(),
        chunker: match chunking.chunker {
            ChunkerKind::Block => "block".to_owned(),
            ChunkerKind::FastCdc => "fastcdc".to_owned(),
        },
        chunk_min_bytes: chunking.min_bytes(),
        chunk_avg_bytes: chunking.avg_bytes(),
        chunk_max_bytes: chunking.max_bytes(),
        head: head.clone(),
        store: report.store,
        single_writer: args.single_writer,
        parity_shards: args.parity,
        recovery_key_file: args.recovery_key_out.as_ref().map(|path| path.display().to_string()),
        recovery_key: text.is_some(),
    };
    let line = RepositoryLine { id: result.id.clone(), head };
    Ok(Done::with(result).in_repository(line).with_warnings(warnings.into_iter().map(|text| warning("secret", text))))
}

/// A KDF cost of that much memory.
pub fn kdf_cost(memory_bytes: u64) -> Result<KdfCost, Failure> {
    let cost = u32::try_from(memory_bytes / 1024).ok().map(|memory_kib| KdfCost { memory_kib, ..KdfCost::default() });
    match cost.filter(|cost| (8 * cost.lanes..=4 << 20).contains(&cost.memory_kib)) {
        Some(cost) => Ok(cost),
        None => Err(Failure::invalid("--kdf-memory is from 32K to 4G", "--kdf-memory 256M")),
    }
}

/// Told before a password is asked for.
fn refuse_occupied(path: &Path) -> Result<(), Failure> {
    if path.join("config").exists() {
        return Err(Failure::new(
            Exit::Failed,
            "a repository is there already",
            path.display(),
            "use it, or name another folder",
        ));
    }
    Ok(())
}

/// The recovery key goes to its file or in front of a person, before the repository is there: then it cannot be lost.
pub fn hand_over(text: &Zeroizing<String>, file: Option<&Path>, option: &str) -> Result<(), Failure> {
    if let Some(path) = file {
        let mut line = Zeroizing::new(String::with_capacity(text.len() + 1));
        line.push_str(text);
        line.push('\n');
        return write_private(path, line.as_bytes(), option);
    }
    terminal::show_once("recovery key, shown this once; it opens the repository without the password:", text)?;
    let last = text.get(text.len().saturating_sub(6)..).unwrap_or_default();
    let typed = terminal::ask_line("when it is written down, type its last six characters:")?;
    if typed.eq_ignore_ascii_case(last) {
        return Ok(());
    }
    Err(Failure::invalid("these are not the last six characters; nothing was written", "run the same command again"))
}
