use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::file::{append, is_at};
use crate::line::Style;

/// A log file that is rotated by size or age. A rotated file gets another name, and the oldest ones
/// are deleted.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_telemetry::{RollingFile, Telemetry, Writer};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("orders.log");
/// let day = Duration::from_secs(24 * 60 * 60);
/// let writer = Writer::rolling(RollingFile::new(path).max_bytes(50_000_000).every(day).keep(7));
/// let telemetry = Telemetry::builder("orders").writer(writer).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// | setting | default |
/// |---|---|
/// | [`max_bytes`](Self::max_bytes) | 100 MiB |
/// | [`every`](Self::every) | never by time |
/// | [`keep`](Self::keep) | 9 |
///
/// A rotated file has the time in UTC as its suffix, as in
/// `orders.log.2026-11-21T19-00-00.123456Z`. The new file gets the permissions of the old one. If
/// the path is a symbolic link, its target is rotated.
///
/// With the defaults the log takes at most 1 GiB. If the file cannot be renamed, for example
/// because it is a mount point in a container, it grows without limit. A line at ERROR reports
/// that.
///
/// Several writers may share a file. On Unix each of them detects that the file was renamed and
/// opens the new one.
#[derive(Clone, Debug)]
#[must_use = "a rolling file does nothing until `Writer::rolling` has it"]
pub struct RollingFile {
    pub(crate) path: PathBuf,
    max_bytes: u64,
    every: Option<Duration>,
    keep: usize,
}

impl RollingFile {
    /// Creates the settings of a file. Lines are appended; the file is created if it does not
    /// exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 100 << 20,
            every: None,
            keep: 9,
        }
    }

    /// Sets the size in bytes at which the file is rotated. A batch of lines is not split, so a
    /// file may exceed the size by up to
    /// [`max_waiting_bytes`](crate::TelemetryBuilder::max_waiting_bytes).
    ///
    /// Defaults to 100 MiB.
    pub fn max_bytes(mut self, max: u64) -> Self {
        self.max_bytes = max;
        self
    }

    /// Sets the age at which the file is rotated. It is checked with each batch of lines.
    ///
    /// Defaults to never.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = Some(every);
        self
    }

    /// Sets the number of rotated files that are kept. Older ones are deleted.
    ///
    /// Defaults to 9.
    pub fn keep(mut self, files: usize) -> Self {
        self.keep = files;
        self
    }

    pub(crate) fn open(mut self, style: Arc<Style>) -> io::Result<OpenFile> {
        let (file, size, begun) = begin(&self.path)?;
        // The process may change its working directory. A link would be renamed in place of its
        // target.
        self.path = fs::canonicalize(&self.path)?;
        Ok(OpenFile {
            rolling: self,
            file,
            size,
            begun,
            style,
            has_failed: false,
        })
    }

    /// Returns the rotated files, the latest last. The order is by modification time, since the
    /// clock may have been set back.
    fn others(&self) -> io::Result<Vec<PathBuf>> {
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut others = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let other = path.file_name().unwrap_or_default().as_encoded_bytes();
            let time = other
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(b"."));
            if time.is_some_and(is_time) {
                let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
                others.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        others.sort_unstable();
        Ok(others.into_iter().map(|(_, path)| path).collect())
    }
}

/// Returns whether a suffix marks a rotated file, such as `2026-11-21T19-00-00.123456Z`.
fn is_time(text: &[u8]) -> bool {
    let shape = b"dddd-dd-ddTdd-dd-dd.ddddddZ";
    let fits = |(byte, of): (&u8, &u8)| match of {
        b'd' => byte.is_ascii_digit(),
        of => byte == of,
    };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

/// The open file.
pub(crate) struct OpenFile {
    rolling: RollingFile,
    file: File,
    size: u64,
    begun: SystemTime,
    style: Arc<Style>,
    /// Whether the log has a line about the failed rotation.
    has_failed: bool,
}

impl OpenFile {
    fn is_due(&self, more: usize) -> bool {
        let is_large = self.size.saturating_add(more as u64) > self.rolling.max_bytes;
        let age = now().duration_since(self.begun).unwrap_or_default();
        let is_old = self.rolling.every.is_some_and(|every| age >= every);
        self.size > 0 && (is_large || is_old)
    }

    fn roll(&mut self) -> io::Result<()> {
        let path = &self.rolling.path;
        let mut name = OsString::from(path.file_name().unwrap_or_default());
        let mut time = String::from(".");
        clock::push_now(&mut time);
        // Some file systems allow no colon in a name.
        name.push(time.replace(':', "-"));
        let other = path.with_file_name(name);
        let permissions = self.file.metadata()?.permissions();
        match fs::rename(path, &other) {
            // Another process has renamed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        (self.file, self.size, self.begun) = begin(path)?;
        // A file that another writer has created meanwhile keeps its permissions.
        if self.size == 0 {
            // Some file systems have no permissions. Old files are deleted all the same.
            let _ = self.file.set_permissions(permissions);
        }
        let mut others = self.rolling.others()?;
        let is_kept = |kept: &PathBuf| self.rolling.keep > 0 && *kept == other;
        others.retain(|other| !is_kept(other));
        let kept = self.rolling.keep.saturating_sub(1);
        let too_many = others.len().saturating_sub(kept);
        for other in others.iter().take(too_many) {
            // Another process may have deleted the file.
            let _ = fs::remove_file(other);
        }
        Ok(())
    }

    /// Rotates the file if it is due. If that fails, lines go to the old file, and one line reports
    /// the failure.
    fn rotate_if_due(&mut self, more: usize) {
        if !is_at(&self.file, &self.rolling.path)
            && let Ok(begun) = begin(&self.rolling.path)
        {
            (self.file, self.size, self.begun) = begun;
        }
        if !self.is_due(more) {
            return;
        }
        match self.roll() {
            Ok(()) => self.has_failed = false,
            Err(_) if self.has_failed => {}
            Err(error) => {
                self.has_failed = true;
                let path = self.rolling.path.display();
                let text =
                    format!("failed to rotate the log file {path}, which keeps growing: {error}");
                let line = self.style.own_line("ERROR", &text);
                // A failure shows with the next lines.
                let _ = self.file.write_all(line.as_bytes());
                self.size += line.len() as u64;
            }
        }
    }
}

fn begin(path: &Path) -> io::Result<(File, u64, SystemTime)> {
    let file = append(path)?;
    let metadata = file.metadata()?;
    // If the file system has no creation time, the age counts from now.
    let begun = match metadata.len() {
        0 => now(),
        _ => metadata.created().unwrap_or_else(|_| now()),
    };
    Ok((file, metadata.len(), begun))
}

fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the age of a file is checked at each write"
    )]
    SystemTime::now()
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rotate_if_due(bytes.len());
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style() -> Arc<Style> {
        let (format, names) = (crate::Format::Json, crate::LogSchema::Campanile);
        Arc::new(Style::new(format, names, [None; 4], &[], false))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_large_file_makes_room_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        // Files with similar names are not deleted.
        for other in ["a.log.old", "b.log.2026-11-21T19-00-00.123456Z", "a.logs"] {
            fs::write(folder.path().join(other), "x").unwrap();
        }
        let mut file = RollingFile::new(&path)
            .max_bytes(10)
            .keep(2)
            .open(style())
            .unwrap();
        for number in 0..10 {
            file.write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        let names = names(folder.path());
        let rolled: Vec<_> = names
            .iter()
            .filter(|name| name.starts_with("a.log.2"))
            .collect();
        assert_eq!(rolled.len(), 2, "{names:?}");
        assert_eq!(names.len(), 2 + 4, "{names:?}");
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("a.log"), "line 9\n");
        assert_eq!([text(rolled[0]), text(rolled[1])], ["line 7\n", "line 8\n"]);
    }

    #[test]
    fn an_old_file_makes_room_when_something_comes() {
        let folder = tempfile::tempdir().unwrap();
        let rolling = RollingFile::new(folder.path().join("a.log")).every(Duration::ZERO);
        let mut file = rolling.open(style()).unwrap();
        file.write_all(b"one\n").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        file.write_all(b"two\n").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn what_is_there_is_gone_on_with_and_a_single_line_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "before\n").unwrap();
        let mut file = RollingFile::new(&path).max_bytes(20).open(style()).unwrap();
        file.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
        file.write_all(&[b'x'; 100]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 100);
        // If the file is gone, the next rotation creates it again.
        fs::remove_file(&path).unwrap();
        file.write_all(b"again\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "again\n");
        // Without the folder there is no other name; what is open is written to.
        let gone = folder.path().to_owned();
        folder.close().unwrap();
        assert!(!gone.exists());
        file.write_all(b"y").unwrap();
    }

    #[test]
    fn a_writer_finds_the_new_file_after_another_has_rolled_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let open = |max| {
            RollingFile::new(&path)
                .max_bytes(max)
                .keep(1)
                .open(style())
                .unwrap()
        };
        let (mut quiet, mut busy) = (open(1 << 20), open(10));
        for _ in 0..5 {
            busy.write_all(b"busy line\n").unwrap();
        }
        quiet.write_all(b"quiet line\n").unwrap();
        let all: String = names(folder.path())
            .iter()
            .map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
            .collect();
        assert!(all.contains("quiet line"), "{all}");
    }

    #[test]
    fn a_failed_rotation_is_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        // The other name would be longer than a name can be.
        let path = folder.path().join("a".repeat(240));
        let mut file = RollingFile::new(&path).max_bytes(10).open(style()).unwrap();
        for _ in 0..5 {
            file.write_all(b"a whole line\n").unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.matches("failed to rotate the log file").count(),
            1,
            "{text}"
        );
        assert_eq!(text.matches("a whole line\n").count(), 5, "{text}");
    }

    #[test]
    fn what_was_rolled_just_now_is_not_what_goes() {
        let folder = tempfile::tempdir().unwrap();
        for day in 1..=2 {
            let name = format!("a.log.2099-01-0{day}T00-00-00.000000Z");
            let file = File::create(folder.path().join(name)).unwrap();
            let hour = Duration::from_secs(3_600);
            file.set_modified(now() - hour).unwrap();
        }
        let path = folder.path().join("a.log");
        let mut file = RollingFile::new(&path)
            .max_bytes(10)
            .keep(2)
            .open(style())
            .unwrap();
        file.write_all(b"a whole line\n").unwrap();
        for rolled in 1..=2 {
            file.write_all(b"another line\n").unwrap();
            let names = names(folder.path());
            let is_new = |name: &&String| name.starts_with("a.log.") && !name.contains("2099");
            assert_eq!(names.iter().filter(is_new).count(), rolled, "{names:?}");
            assert_eq!(names.len(), 3, "{names:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (link, data) = (folder.path().join("link.log"), folder.path().join("data"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("a.log"), "before\n").unwrap();
        fs::set_permissions(data.join("a.log"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(data.join("a.log"), &link).unwrap();
        let mut file = RollingFile::new(&link).max_bytes(5).open(style()).unwrap();
        file.write_all(b"after\n").unwrap();
        assert_eq!(names(&data).len(), 2);
        assert_eq!(fs::read_to_string(&link).unwrap(), "after\n");
        let mode = fs::metadata(data.join("a.log"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
