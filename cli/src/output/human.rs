//! Results as people read them.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    BackupResult, CompletionsResult, DemoResult, DiffResult, GenerateResult, HomeLine, Human, InitResult, KeyResult,
    ListResult, ProblemLine, RestoreResult, ShowResult, StatsResult, VerifyResult, VersionResult,
};
use crate::units::{self, size};

/// The first digits of an id.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A table as wide as the terminal. `right`: columns of numbers.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)).collect::<Vec<String>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A name from a repository may hold anything: nothing of it reaches the terminal as a control.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn opt_size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), size)
}

impl Human for InitResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let [min, avg, max] =
            [self.chunk_min_bytes, self.chunk_avg_bytes, self.chunk_max_bytes].map(|bytes| bytes / 1024);
        let recovery = match (&self.recovery_key_file, self.recovery_key) {
            (Some(file), _) => file.clone(),
            (None, true) => "shown above".to_owned(),
            (None, false) => "none".to_owned(),
        };
        let writers = if self.single_writer { "one writer" } else { "many writers" };
        let parity = match self.parity_shards {
            0 => "none".to_owned(),
            shards => format!("{shards} of 512"),
        };
        writeln!(
            out,
            "repository {}   chunker {} {min}/{avg}/{max} KiB   parity {parity}   store: {}, {writers}   recovery key: {}",
            short(&self.id),
            self.chunker,
            clean(&self.store),
            clean(&recovery)
        )
    }
}

/// Ranges that people are shown of a longer list.
const RANGES_SHOWN: usize = 8;

impl Human for BackupResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for disk in &self.disks {
            write!(
                out,
                "{} {}  {}  data {}",
                clean(&self.vm),
                clean(&disk.name),
                size(disk.size_bytes),
                size(disk.data_bytes)
            )?;
            match &disk.map_root {
                None => writeln!(out, "  would be read")?,
                Some(root) => {
                    write!(
                        out,
                        "  read {}  new {}  stored {}",
                        size(disk.read_bytes),
                        size(disk.new_bytes),
                        size(disk.stored_bytes)
                    )?;
                    if disk.bad_bytes > 0 {
                        write!(out, "  unreadable {}", size(disk.bad_bytes))?;
                    }
                    writeln!(out, "  map {}", short(root))?;
                }
            }
            show_how(disk, out)?;
        }
        match (&self.point, &self.verdict) {
            (Some(point), Some(verdict)) => writeln!(
                out,
                "point {}   restores: {}   head {}",
                short(point),
                clean(&verdict.sentence),
                self.head.short()
            ),
            _ => writeln!(out, "dry run: nothing was written"),
        }
    }
}

fn show_how(disk: &super::BackupDisk, out: &mut dyn Write) -> io::Result<()> {
    if let (Some(areas), Some(bytes)) = (disk.changed_areas, disk.changed_area_bytes) {
        write!(out, "  by {areas} changed areas of {}", size(bytes))?;
        match &disk.audit {
            Some(audit) if audit.one_in > 0 => writeln!(
                out,
                "; audit: 1 segment in {}, {} read ({}), no miss",
                audit.one_in,
                audit.sampled_segments,
                size(audit.sampled_bytes)
            )?,
            _ => writeln!(out, "; not audited")?,
        }
    }
    if let Some(reason) = &disk.full_read_reason {
        writeln!(out, "  read whole: {}", clean(reason))?;
    }
    let misses = disk.audit.as_ref().map(|audit| audit.misses.as_slice()).unwrap_or_default();
    for miss in misses.iter().take(RANGES_SHOWN) {
        writeln!(out, "  changed, but not in the list: {} bytes from byte {}", miss.length_bytes, miss.start_bytes)?;
    }
    let more = misses.len().saturating_sub(RANGES_SHOWN);
    if more > 0 {
        writeln!(out, "  and {more} more ranges (--json)")?;
    }
    Ok(())
}

impl Human for ListResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.points.is_empty() {
            return writeln!(out, "no restore points");
        }
        let row = |point: &super::PointLine| {
            let count = point.disk_count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            let held = if point.held.is_some() { "[hold]" } else { "" };
            vec![
                short(&point.id).to_owned(),
                units::local(point.time_ms),
                point.vm.clone(),
                count,
                opt_size(point.size_bytes),
                opt_size(point.changed_bytes),
                opt_size(point.stored_bytes),
                point.tag.clone().unwrap_or_default(),
                point.verdict.sentence.clone(),
                held.to_owned(),
            ]
        };
        let header = ["ID", "Time", "VM", "Disks", "Size", "Changed", "Stored", "Tag", "Restores", ""];
        let table = table(&header, self.points.iter().map(row).collect(), &[3, 4, 5, 6]);
        writeln!(out, "{}", table.trim_fmt())
    }
}

impl Human for ShowResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(config) = &self.config {
            return out.write_all(config.as_bytes());
        }
        let point = &self.point;
        writeln!(out, "point      {}", point.id)?;
        writeln!(out, "VM         {}   number {}", clean(&point.vm), point.number)?;
        if point.identity != point.vm {
            writeln!(out, "identity   {}", clean(&point.identity))?;
        }
        writeln!(out, "time       {}   begun {}, read until {}", point.time, point.started, point.finished)?;
        let host = point.host.as_deref().unwrap_or("-");
        writeln!(out, "made by    {} on {}", clean(point.program.as_deref().unwrap_or("-")), clean(host))?;
        if let Some(parent) = &point.parent {
            writeln!(out, "after      {parent}")?;
        }
        if let Some(tag) = &point.tag {
            writeln!(out, "tag        {}", clean(tag))?;
        }
        if let Some(held) = &point.held {
            writeln!(out, "held       {}", clean(held))?;
        }
        writeln!(out, "state      {}, {}", point.consistency, if point.complete { "complete" } else { "incomplete" })?;
        writeln!(out, "restores   {}", clean(&point.verdict.sentence))?;
        writeln!(out)?;
        let row = |disk: &super::ShowDisk| {
            vec![
                disk.name.clone(),
                size(disk.size_bytes),
                opt_size(disk.data_bytes),
                opt_size(disk.changed_bytes),
                opt_size(disk.new_bytes),
                opt_size(disk.stored_bytes),
                if disk.bad_bytes > 0 { size(disk.bad_bytes) } else { "-".to_owned() },
                disk.map_root.clone(),
            ]
        };
        let header = ["Disk", "Size", "Data", "Changed", "New", "Stored", "Unreadable", "Map root"];
        let disks = table(&header, point.disks.iter().map(row).collect(), &[1, 2, 3, 4, 5, 6]);
        writeln!(out, "{}", disks.trim_fmt())?;
        for disk in &point.disks {
            if let Some(base) = &disk.base {
                writeln!(out, "{}: changed areas since {}", clean(&disk.name), short(base))?;
            }
            if let Some(audit) = &disk.audit {
                let (sampled, missed) = (audit.sampled_segments, audit.missed_segments);
                writeln!(
                    out,
                    "{}: audit of 1 segment in {}: {sampled} read, {missed} had changed unannounced",
                    clean(&disk.name),
                    audit.one_in
                )?;
            }
        }
        if let Some(home) = &point.vm_home {
            writeln!(out)?;
            show_home(home, out)?;
        }
        if let Some(extents) = &self.extents {
            writeln!(out)?;
            for extent in extents {
                writeln!(out, "{} {} {}", clean(&extent.disk), extent.start_bytes, extent.length_bytes)?;
            }
        }
        Ok(())
    }
}

fn show_home(home: &HomeLine, out: &mut dyn Write) -> io::Result<()> {
    let text = |value: &Option<String>| clean(value.as_deref().unwrap_or("-"));
    let yes = |value: Option<bool>| match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let policy = |policy: &Option<super::PolicyLine>| match policy {
        Some(policy) => format!("{} ({})", clean(&policy.name), clean(&policy.id)),
        None => "-".to_owned(),
    };
    writeln!(out, "VM home    {}, {} bytes, b3 {}", text(&home.name), home.document.bytes, home.document.blake3)?;
    writeln!(out, "uuids      instance {}, BIOS {}", text(&home.instance_uuid), text(&home.bios_uuid))?;
    writeln!(out, "encryption {}: key {} of {}", home.encryption, text(&home.key_id), text(&home.provider_id))?;
    match (home.bundle.bytes, &home.bundle.fingerprint) {
        (Some(bytes), Some(fingerprint)) => writeln!(out, "bundle     {bytes} bytes, fingerprint {fingerprint}")?,
        _ => writeln!(out, "bundle     -")?,
    }
    writeln!(out, "policy     {}", policy(&home.storage_policy))?;
    writeln!(out, "guest      {}, hardware {}", text(&home.guest_id), text(&home.hardware_version))?;
    let firmware = text(&home.firmware);
    writeln!(out, "firmware   {firmware}, secure boot {}, vTPM {}", yes(home.secure_boot), yes(home.vtpm))?;
    match &home.nvram {
        Some(nvram) => writeln!(out, "NVRAM      {}, {} bytes, b3 {}", text(&nvram.name), nvram.bytes, nvram.blake3)?,
        None => writeln!(out, "NVRAM      -")?,
    }
    for disk in &home.disks {
        let (key, provider) = (text(&disk.key_id), text(&disk.provider_id));
        writeln!(out, "  {}: key {key} of {provider}, policy {}", clean(&disk.name), policy(&disk.storage_policy))?;
    }
    Ok(())
}

impl Human for DiffResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(extents) = &self.extents {
            for extent in extents {
                writeln!(out, "{} {} {}", clean(&extent.disk), extent.start_bytes, extent.length_bytes)?;
            }
            return Ok(());
        }
        writeln!(
            out,
            "{} -> {}{}",
            short(&self.before),
            short(&self.after),
            if self.other_vm { "   (different VMs)" } else { "" }
        )?;
        for disk in &self.disks {
            let side = match disk.side.as_str() {
                "both" => String::new(),
                side => format!("  {side}"),
            };
            let grown = if disk.before_bytes != disk.after_bytes && disk.side == "both" {
                format!("  size {} -> {}", size(disk.before_bytes), size(disk.after_bytes))
            } else {
                String::new()
            };
            writeln!(
                out,
                "{}{side}{grown}  changed {} in {} segments",
                clean(&disk.name),
                size(disk.changed_bytes),
                disk.changed_segments
            )?;
        }
        for change in &self.vm_home {
            writeln!(out, "VM home {}: {} -> {}", change.field, clean(&change.before), clean(&change.after))?;
        }
        Ok(())
    }
}

impl Human for RestoreResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: point {} of {}", clean(&self.vm), short(&self.point), self.time)?;
        for disk in &self.disks {
            let verb = if self.dry_run { "would become" } else { "->" };
            write!(out, "{} {verb} {}  {}", clean(&disk.name), clean(&disk.target), size(disk.size_bytes))?;
            // A dry run that has compared knows what would be written.
            if !self.dry_run || disk.written_bytes + disk.skipped_bytes + disk.zeroed_bytes > 0 {
                write!(out, "  written {}  zeros {}", size(disk.written_bytes), size(disk.hole_bytes))?;
            }
            if disk.zeroed_bytes > 0 {
                write!(out, "  made zero {}", size(disk.zeroed_bytes))?;
            }
            if disk.shared_bytes > 0 {
                write!(out, "  not looked at {}", size(disk.shared_bytes))?;
            }
            if disk.skipped_bytes > 0 {
                write!(out, "  there already {}", size(disk.skipped_bytes))?;
            }
            if disk.tail_bytes > 0 {
                write!(out, "  left as it was {}", size(disk.tail_bytes))?;
            }
            writeln!(out)?;
            for lost in &disk.lost {
                writeln!(out, "  lost: {} bytes from byte {}", lost.length_bytes, lost.start_bytes)?;
            }
            for bad in &disk.bad {
                writeln!(out, "  never read, zeros now: {} bytes from byte {}", bad.length_bytes, bad.start_bytes)?;
            }
        }
        for file in [&self.vm_home_file, &self.nvram_file].into_iter().flatten() {
            writeln!(out, "VM home -> {}", clean(file))?;
        }
        show_problems(&self.problems, out)?;
        match self.dry_run {
            true => writeln!(out, "dry run: nothing was written"),
            false => writeln!(out, "in {:.1} s", self.elapsed_seconds),
        }
    }
}

pub(super) fn show_problems(problems: &[ProblemLine], out: &mut dyn Write) -> io::Result<()> {
    for problem in problems {
        writeln!(out, "{}: {}", clean(&problem.object), clean(&problem.what))?;
        for cost in &problem.costs {
            let part = match &cost.disk {
                Some(disk) => format!("{} {}", clean(&cost.vm), clean(disk)),
                None => format!("{} {}", clean(&cost.vm), cost.part.replace('_', " ")),
            };
            write!(out, "  costs {part} of point {}", short(&cost.point))?;
            if cost.lost_bytes > 0 {
                write!(out, ": {} bytes", cost.lost_bytes)?;
            }
            for range in cost.ranges.iter().take(RANGES_SHOWN) {
                write!(out, ", {}..{}", range.start_bytes, range.start_bytes.saturating_add(range.length_bytes))?;
            }
            let more = cost.ranges.len().saturating_sub(RANGES_SHOWN);
            writeln!(out, "{}", if more > 0 { format!(" and {more} more ranges (--json)") } else { String::new() })?;
        }
    }
    Ok(())
}

impl Human for VerifyResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        super::show_healed(&self.healed, out)?;
        show_problems(&self.problems, out)?;
        let problems = match self.problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        writeln!(
            out,
            "{}: {} points, {} of {} packs read whole ({}), {problems} in {:.1} s",
            self.depth.replace('_', " "),
            self.points_checked,
            self.packs_checked,
            self.packs_total,
            size(self.read_bytes),
            self.elapsed_seconds
        )
    }
}

impl Human for StatsResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let about = if self.exact { "" } else { "~" };
        let row = |vm: &super::StatsVm| {
            vec![
                vm.vm.clone(),
                vm.points.to_string(),
                size(vm.logical_bytes),
                size(vm.allocated_bytes),
                format!("{about}{}", size(vm.unique_bytes)),
                format!("{about}{}", size(vm.stored_bytes)),
            ]
        };
        let mut rows: Vec<Vec<String>> = self.vms.iter().map(row).collect();
        let totals = &self.totals;
        rows.push(vec![
            "all".to_owned(),
            totals.points.to_string(),
            size(totals.logical_bytes),
            size(totals.allocated_bytes),
            format!("{about}{}", size(totals.distinct_bytes)),
            size(totals.stored_bytes),
        ]);
        let header = ["VM", "Points", "Logical", "Allocated", "Unique", "Stored"];
        writeln!(out, "{}", table(&header, rows, &[1, 2, 3, 4, 5]).trim_fmt())?;
        if let Some(tenths) = (totals.allocated_bytes.saturating_mul(10)).checked_div(totals.stored_bytes) {
            writeln!(
                out,
                "{} packs; {}.{} bytes of data for each byte stored",
                totals.packs,
                tenths / 10,
                tenths % 10
            )?;
        }
        if self.unreadable_points > 0 {
            writeln!(out, "{} points could not be read and are not counted", self.unreadable_points)?;
        }
        Ok(())
    }
}

impl Human for KeyResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let row = |slot: &super::SlotLine| {
            vec![
                short(&slot.id).to_owned(),
                text(&slot.kind),
                text(&slot.label),
                text(&slot.created),
                text(&slot.last_used),
                if slot.current { "opened just now" } else { "" }.to_owned(),
            ]
        };
        let header = ["Slot", "Kind", "Label", "Created", "Last used", ""];
        writeln!(out, "{}", table(&header, self.slots.iter().map(row).collect(), &[]).trim_fmt())?;
        match &self.recovery_key_file {
            Some(file) => writeln!(out, "recovery key: {}", clean(file)),
            None => Ok(()),
        }
    }
}

impl Human for DemoResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let good = self.steps.iter().filter(|step| step.ok).count();
        writeln!(out, "{good} of {} in {:.1} s", self.steps.len(), self.elapsed_seconds)?;
        match &self.folder {
            Some(folder) => writeln!(out, "everything is in {}", clean(folder)),
            None => Ok(()),
        }
    }
}

impl Human for CompletionsResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.script.as_bytes())
    }
}

impl Human for VersionResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let formats: Vec<String> = self.formats.iter().map(u16::to_string).collect();
        writeln!(out, "strongroom {}", self.version)?;
        writeln!(out, "formats    {} (read and written)", formats.join(", "))?;
        writeln!(out, "features   {}", self.features.join(", "))
    }
}

impl Human for GenerateResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        self.files.iter().try_for_each(|file| writeln!(out, "{}", clean(file)))
    }
}
