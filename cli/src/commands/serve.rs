//! `strongroom serve`: disks of a restore point as NBD exports, until Ctrl-C.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
};

use engine::{
    Event, Listen, ListenError, Monitor, OverlayError, OverlayPlace, ServeError, ServeJob, ServeOptions, ServeReport,
    ServeUntil, Served, ServerTls, ServerTlsFiles, Step, serve,
};

use super::{
    Done,
    points::{Chosen, choose},
    refuse_inside_repository,
};
use crate::{
    args::{GlobalArgs, ServeArgs},
    exit::Exit,
    failure::Failure,
    opening,
    output::{self, Ending, Report, RepositoryLine, ServeResult, ServeUri, WarningLine},
    signals, units,
};

/// Serves a point.
pub fn run(global: &GlobalArgs, args: &ServeArgs) -> Result<Done, Failure> {
    let tls = tls(args)?;
    let listen = listen(args, tls.is_some())?;
    let overlay = match &args.overlay {
        None => OverlayPlace::None,
        Some(word) if word == Path::new("memory") => OverlayPlace::Memory,
        Some(path) => {
            refuse_inside_repository(path, &opening::repository_path(global)?)?;
            OverlayPlace::File(path.clone())
        }
    };
    let opened = opening::reader(global)?;
    let (reader, place) = (&opened.handle, &opened.place);
    let chosen = choose(reader, &args.selector, place)?;
    let disks = args.disks.iter().chain(&chosen.disk).cloned().collect();
    let until = if args.once { ServeUntil::ClientsGone } else { ServeUntil::Stopped };
    let job = ServeJob { point: chosen.id, disks, listen, overlay, tls, until };
    let options = ServeOptions { threads: global.thread_count(), cache_bytes: args.cache };

    let warnings: Vec<WarningLine> = opened.warnings.iter().chain(&chosen.warnings).cloned().collect();
    let said =
        Announcement { json: global.json.is_some(), args, chosen: &chosen, line: opened.line(), warnings: &warnings };
    let monitor = Log { quiet: global.quiet };
    let mut announced = Ok(());
    let report = serve(reader, &job, &options, &monitor, &mut |served| announced = said.announce(served))
        .map_err(|error| serve_failure(&error, args, place))?;
    if let Err(error) = announced {
        let what = format!("the URIs could not be written: {error}");
        return Err(Failure::new(Exit::Failed, what, "standard output", "give it room"));
    }
    let ended = Done::already_said().with_warnings(if said.json { Vec::new() } else { warnings.clone() });
    Ok(match outcome(&report, &chosen) {
        Some(failure) => ended.but(failure),
        None => ended,
    })
}

/// The address, and whether it may be listened on.
fn listen(args: &ServeArgs, tls: bool) -> Result<Listen, Failure> {
    if let Some(path) = &args.socket {
        return Ok(Listen::Unix(path.clone()));
    }
    let text = &args.listen;
    let address: SocketAddr = text.parse().map_err(|_| {
        Failure::invalid(
            format!("--listen {text}: not an address and a port"),
            "--listen 127.0.0.1:10809, or --socket PATH",
        )
    })?;
    if !address.ip().is_loopback() && !tls {
        return Err(Failure::invalid(
            format!(
                "--listen {address} can be reached from other machines, and without TLS anybody there can read the disks"
            ),
            "add --tls-cert FILE --tls-key FILE, or listen on 127.0.0.1",
        ));
    }
    Ok(Listen::Tcp(address))
}

fn tls(args: &ServeArgs) -> Result<Option<ServerTls>, Failure> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let files = ServerTlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca: args.tls_ca.clone() };
    ServerTls::open(&files).map(Some).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            &error,
            "--tls-cert, --tls-key, --tls-ca",
            "name certificates and a key in PEM form",
        )
    })
}

fn serve_failure(error: &ServeError, args: &ServeArgs, place: &str) -> Failure {
    let failure = Failure::of(error, error.kind(), place);
    match error {
        ServeError::Listen(ListenError::Taken { place }) => {
            Failure { place: place.clone(), ..failure }.with_advice("end whoever is there, or name another place")
        }
        ServeError::Listen(ListenError::Io { place, .. }) => {
            Failure { place: place.clone(), ..failure }.with_advice("name a place that can be listened on")
        }
        ServeError::Overlay(OverlayError::OfAnother { .. }) => {
            failure.with_advice("serve the point that it was begun over, or name a new overlay file")
        }
        ServeError::Overlay(OverlayError::NotOne { .. }) => failure.with_advice("name a new overlay file"),
        ServeError::Disk { there, .. } => failure.with_advice(format!("its disks: {}", there.join(", "))),
        ServeError::Flush(_) => {
            let overlay = args.overlay.as_ref().map_or_else(|| place.to_owned(), |path| path.display().to_string());
            Failure { place: overlay, ..failure }
                .with_advice("make room and serve it again: what was flushed before is there")
        }
        _ => failure,
    }
}

/// What clients did not get, as one failure; each was told of when it happened.
fn outcome(report: &ServeReport, chosen: &Chosen) -> Option<Failure> {
    let count = |kind| report.troubles.iter().filter(|trouble| trouble.kind == kind).count();
    let damaged = count(engine::Kind::Damaged);
    let (exit, what, advice) = match (damaged, report.troubles.first()) {
        (_, None) => return None,
        (0, Some(first)) if first.kind == engine::Kind::Failed => (
            Exit::Attention,
            format!(
                "{} stretches that could not be read when they were backed up were asked for",
                report.troubles.len()
            ),
            "clients got I/O errors for them; serve a complete point instead",
        ),
        (0, Some(first)) => (
            Exit::of(first.kind),
            format!("{} places could not be read: {}", report.troubles.len(), first.what),
            "clients got I/O errors for them; make the repository reachable and serve it again",
        ),
        (damaged, Some(_)) => (
            Exit::Damaged,
            format!("{damaged} damaged places were asked for; clients got I/O errors for them"),
            "learn what it costs: strongroom verify --read-data",
        ),
    };
    Some(Failure::new(exit, what, format!("point {} of {}", chosen.id, chosen.vm), advice))
}

/// Says where the exports are: at once, and as the only document of the run.
struct Announcement<'a> {
    json: bool,
    args: &'a ServeArgs,
    chosen: &'a Chosen,
    line: RepositoryLine,
    warnings: &'a [WarningLine],
}

impl Announcement<'_> {
    fn announce(&self, served: &[Served]) -> io::Result<()> {
        let uri =
            |served: &Served| ServeUri { disk: served.disk.clone(), size_bytes: served.bytes, uri: served.uri.clone() };
        let in_file = |path: &&std::path::PathBuf| path.as_path() != Path::new("memory");
        let result = ServeResult {
            point: self.chosen.id.to_string(),
            vm: self.chosen.vm.clone(),
            time: units::utc(self.chosen.time_ms),
            writable: self.args.overlay.is_some(),
            overlay_file: self.args.overlay.as_ref().filter(in_file).map(|path| path.display().to_string()),
            uris: served.iter().map(uri).collect(),
        };
        let mut out = io::stdout().lock();
        if self.json {
            let ending = Ending {
                command: "serve",
                repository: Some(&self.line),
                exit: Exit::Done,
                warnings: self.warnings,
                failure: None,
            };
            result.json(&ending, &mut out)?;
        } else {
            result.human(&mut out)?;
        }
        out.flush()
    }
}

/// Says at once what clients do not get: serving may go on for days.
struct Log {
    quiet: bool,
}

impl Monitor for Log {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning { code, message } = event
            && !self.quiet
        {
            let warning = WarningLine { code: (*code).to_owned(), message: message.clone() };
            let text = output::render_warning(&warning, output::Palette::of(crate::args::ColorChoice::Never));
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    fn advance(&self, _step: Step) {}

    fn interrupted(&self) -> bool {
        signals::stopped()
    }
}
