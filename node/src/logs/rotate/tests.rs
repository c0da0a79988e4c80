use super::*;

const fn bounds(bytes_max: u64, files_max: u32) -> Rotation {
    Rotation {
        bytes_max,
        files_max,
    }
}

fn open(path: &Path, bytes_max: u64, files_max: u32) -> RotatingFile {
    RotatingFile::open(path, bounds(bytes_max, files_max)).unwrap()
}

/// Lines that must be written, all of them.
fn write(file: &mut RotatingFile, lines: &str) {
    let written = file.write_lines(lines.as_bytes());
    assert!(written.error.is_none(), "{written:?}");
    assert!(written.rotation_error.is_none(), "{written:?}");
    assert_eq!(written.bytes, lines.len());
    assert_eq!(written.lines, lines.lines().count() as u64);
}

fn texts(path: &Path) -> Vec<String> {
    let paths = [path.to_owned()]
        .into_iter()
        .chain((1..).map(|n| set_aside(path, n)));
    paths
        .map_while(|path| fs::read_to_string(path).ok())
        .collect()
}

#[test]
fn a_full_file_is_set_aside_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 8, 3);
    for number in 0..8 {
        write(&mut file, &format!("l{number}\n"));
    }
    assert_eq!(texts(&path), ["l6\nl7\n", "l4\nl5\n", "l2\nl3\n"]);
}

#[test]
fn files_of_a_greater_bound_go_with_the_next_that_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 4, 5);
    for number in 0..5 {
        write(&mut file, &format!("l{number}\n"));
    }
    assert_eq!(texts(&path).len(), 5);
    for (bytes_max, files_max, left) in [(4, 2, 2), (3, 1, 1)] {
        file.configure(bounds(bytes_max, files_max));
        write(&mut file, "a\nb\nc\n");
        assert_eq!(texts(&path).len(), left);
    }
}

#[test]
fn lines_are_never_torn_and_a_great_one_has_a_file_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 6, 9);
    write(&mut file, "one\ntwo\nthree and more\nend\n");
    assert_eq!(
        texts(&path),
        ["end\n", "three and more\n", "two\n", "one\n"]
    );
    assert_eq!(file.position().bytes, 4);
}

#[test]
fn what_was_there_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "old\n").unwrap();
    let mut file = open(&path, 100, 2);
    write(&mut file, "new\n");
    assert_eq!(texts(&path), ["old\nnew\n"]);
}

#[test]
fn a_file_that_somebody_took_away_is_made_anew_and_a_cut_one_counted_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 8, 2);
    write(&mut file, "one\n");
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    write(&mut file, "two\n");
    assert_eq!(texts(&path), ["two\n"]);
    fs::write(&path, "").unwrap();
    write(&mut file, "three\n");
    assert_eq!(texts(&path), ["three\n"]);
}

#[test]
fn after_a_line_that_was_written_in_part_the_next_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 100, 2);
    file.open.put(b"one\nha", &mut 0).unwrap();
    write(&mut file, "two\n");
    write(&mut file, "three\n");
    assert_eq!(texts(&path), ["one\nha\ntwo\nthree\n"]);
    file.open.put(b"ha", &mut 0).unwrap();
    fs::write(&path, "").unwrap();
    write(&mut file, "four\n");
    assert_eq!(texts(&path), ["four\n"]);
}

/// A disk with room for so many bytes.
struct Disk(usize);

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0).min(3);
        self.0 -= count;
        match count {
            0 => Err(io::ErrorKind::StorageFull.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_full_disk_took_is_counted() {
    let (count, done) = write_counted(&mut Disk(7), b"0123456789");
    assert_eq!(
        (count, done.unwrap_err().kind()),
        (7, io::ErrorKind::StorageFull)
    );
    let (count, done) = write_counted(&mut Disk(10), b"0123456789");
    assert_eq!((count, done.is_ok()), (10, true));
}

#[test]
fn a_file_that_cannot_be_set_aside_is_written_on_up_to_twice_its_bound_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let aside = set_aside(&path, 1);
    fs::create_dir(&aside).unwrap();
    let mut file = open(&path, 8, 2);
    let written = file.write_lines(b"one\ntwo\nsix\nten\nend\n");
    assert_eq!((written.bytes, written.lines), (16, 4), "{written:?}");
    assert!(written.rotation_error.is_some() && written.error.is_some());
    assert_eq!((written.rotations, file.is_stuck()), (0, true));
    fs::remove_dir(&aside).unwrap();
    for _ in 1..RETRY_WRITES {
        let written = file.write_lines(b"lost\n");
        assert_eq!((written.lines, written.rotations), (0, 0));
        assert!(written.rotation_error.is_none() && written.error.is_some());
    }
    let written = file.write_lines(b"last\n");
    assert_eq!((written.lines, written.rotations), (1, 1));
    assert_eq!(texts(&path), ["last\n", "one\ntwo\nsix\nten\n"]);
}

#[test]
fn what_was_set_aside_stays_however_often_the_next_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = open(&path, 4, 4);
    fs::write(set_aside(&path, 1), "kept\n").unwrap();
    fs::write(set_aside(&path, 2), "older\n").unwrap();
    fs::create_dir(set_aside(&path, 3)).unwrap();
    write(&mut file, "one\n");
    for _ in 0..3 * RETRY_WRITES {
        file.write_lines(b"two\n");
    }
    assert!(file.is_stuck());
    assert_eq!(texts(&path), ["one\ntwo\n", "kept\n", "older\n"]);
}

#[test]
fn what_is_no_regular_file_is_refused_and_nobody_waits_for_a_reader() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    RotatingFile::open(&path, bounds(8, 2)).unwrap_err();
    let reader = OpenOptions::new().read(true).write(true).open(&path);
    let refused = RotatingFile::open(&path, bounds(8, 2)).unwrap_err();
    assert_eq!(refused.to_string(), "is no regular file");
    drop(reader);
    RotatingFile::open(folder.path(), bounds(8, 2)).unwrap_err();
}

#[test]
fn the_position_is_of_the_file_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "old\n").unwrap();
    let mut file = open(&path, 100, 2);
    let id = FileId::of(&fs::metadata(&path).unwrap());
    assert_eq!(file.position(), Position { id, bytes: 4 });
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    write(&mut file, "a\n");
    let id = FileId::of(&fs::metadata(&path).unwrap());
    assert_eq!(file.position(), Position { id, bytes: 2 });
}
