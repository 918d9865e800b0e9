//! The two files of a PEFT directory as one tar archive, for the way to a server.
//!
//! Reading takes what `tar` and Python's `tarfile` write of such a directory: other files, such as
//! a README, are passed over. Nothing is unpacked: names are compared and never become paths.
//!
//! Source: POSIX.1-2024, pax, "ustar Interchange Format".

use super::peft::{CONFIG_FILE, PeftFiles, TENSORS_FILE};

const BLOCK_BYTES: usize = 512;

/// Where the fields of a header are.
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;

/// Bytes are not an archive of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The archive ends within a member.
    #[error("the archive is cut off")]
    Cut,
    /// A header is not one of ustar.
    #[error("the archive is no tar file")]
    Header,
    /// A link, a device or another member that is no file.
    #[error("the archive holds something that is no plain file")]
    Kind,
    /// A file is there twice.
    #[error("{name} is in the archive twice")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// A file is not there.
    #[error("{name} is not in the archive")]
    Missing {
        /// Which.
        name: &'static str,
    },
}

/// Writes an archive of both files.
pub fn write(files: &PeftFiles) -> Vec<u8> {
    let mut archive = Vec::with_capacity(files.config.len() + files.tensors.len() + 4096);
    for (name, bytes) in [(CONFIG_FILE, &files.config), (TENSORS_FILE, &files.tensors)] {
        archive.extend(header(name, bytes.len()));
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    archive
}

/// Reads both files out of an archive.
///
/// # Errors
///
/// When it is no tar file, or lacks one of them.
pub fn read(mut archive: &[u8]) -> Result<PeftFiles, ArchiveError> {
    let (mut config, mut tensors) = (None, None);
    while let Some((header, rest)) = archive.split_first_chunk::<BLOCK_BYTES>() {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = size(header)?;
        let bytes = rest.get(..size).ok_or(ArchiveError::Cut)?;
        archive = rest
            .get(size.next_multiple_of(BLOCK_BYTES)..)
            .unwrap_or_default();
        match header[KIND] {
            b'0' | 0 => {}
            // Directories, and headers of later formats that say more of the next member.
            b'5' | b'x' | b'g' => continue,
            _ => return Err(ArchiveError::Kind),
        }
        let (name, place) = match file_name(header) {
            name if name == CONFIG_FILE.as_bytes() => (CONFIG_FILE, &mut config),
            name if name == TENSORS_FILE.as_bytes() => (TENSORS_FILE, &mut tensors),
            _ => continue,
        };
        if place.replace(bytes).is_some() {
            return Err(ArchiveError::Twice { name });
        }
    }
    let missing = |name| ArchiveError::Missing { name };
    Ok(PeftFiles {
        config: config.ok_or(missing(CONFIG_FILE))?.to_vec(),
        tensors: tensors.ok_or(missing(TENSORS_FILE))?.to_vec(),
    })
}

/// The last part of a member's name.
fn file_name(header: &[u8; BLOCK_BYTES]) -> &[u8] {
    let name = header[..100].split(|byte| *byte == 0).next();
    let name = name.unwrap_or_default();
    name.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Size of the member behind a header, whose checksum is held against its bytes.
fn size(header: &[u8; BLOCK_BYTES]) -> Result<usize, ArchiveError> {
    let number = |field| octal(&header[field]).ok_or(ArchiveError::Header);
    if number(CHECKSUM)? != checksum(header) {
        return Err(ArchiveError::Header);
    }
    usize::try_from(number(SIZE)?).map_err(|_| ArchiveError::Header)
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).ok()
}

/// Sum of a header's bytes, its checksum counted as blanks.
fn checksum(header: &[u8; BLOCK_BYTES]) -> u64 {
    let own = header.iter().enumerate();
    own.map(|(at, byte)| u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }))
        .sum()
}

fn header(name: &str, bytes: usize) -> [u8; BLOCK_BYTES] {
    let mut header = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000600\0"); // mode
    put(108, "0000000\0"); // owner
    put(116, "0000000\0"); // group
    put(SIZE.start, &format!("{bytes:011o}\0"));
    put(136, "00000000000\0"); // time
    put(KIND, "0");
    put(257, "ustar\x0000");
    let sum = checksum(&header);
    let sum = format!("{sum:06o}\0 ");
    header[CHECKSUM].copy_from_slice(sum.as_bytes());
    header
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn files() -> PeftFiles {
        PeftFiles {
            config: b"{}".to_vec(),
            tensors: vec![7; 513],
        }
    }

    #[test]
    fn an_archive_is_read_as_it_is_written() {
        let archive = write(&files());
        // A header and a block of 2 bytes, a header and two blocks of 513, two blocks at the end.
        assert_eq!(archive.len(), 7 * 512);
        assert_eq!(&archive[..19], b"adapter_config.json");
        assert_eq!(&archive[124..136], b"00000000002\0");
        assert_eq!(read(&archive), Ok(files()));
        assert_eq!(read(&archive[..5 * 512]), Ok(files())); // `head` may cut the end off
    }

    #[test]
    fn other_files_and_directories_are_passed_over() {
        let mut archive = header("lora/README.md", 0).to_vec();
        let mut directory = header("lora/", 0);
        directory[KIND] = b'5';
        let sum = checksum(&directory);
        directory[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(directory);
        archive.extend(write(&files()));
        assert_eq!(read(&archive), Ok(files()));
    }

    #[test]
    fn what_is_no_archive_of_an_adapter_is_refused() {
        let archive = write(&files());
        let missing = |name| Err(ArchiveError::Missing { name });
        assert_eq!(read(b""), missing(CONFIG_FILE));
        assert_eq!(read(&archive[..1024]), missing(TENSORS_FILE));
        assert_eq!(read(&archive[..4 * 512]), Err(ArchiveError::Cut));
        assert_eq!(read(&[b'x'; 1024]), Err(ArchiveError::Header));
        let twice = [&archive[..1024], &archive[..]].concat();
        let name = CONFIG_FILE;
        assert_eq!(read(&twice), Err(ArchiveError::Twice { name }));
        let mut link = header("adapter_config.json", 0);
        link[KIND] = b'2';
        let sum = checksum(&link);
        link[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&link), Err(ArchiveError::Kind));
        let mut spoiled = archive;
        spoiled[0] ^= 1;
        assert_eq!(read(&spoiled), Err(ArchiveError::Header));
    }

    /// A size that is only claimed is not believed.
    #[test]
    fn a_claimed_size_reserves_nothing() {
        let mut huge = header(TENSORS_FILE, 0);
        huge[SIZE].copy_from_slice(b"77777777777\0");
        let sum = checksum(&huge);
        huge[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&huge), Err(ArchiveError::Cut));
    }
}
