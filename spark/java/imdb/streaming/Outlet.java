package imdb.streaming;

import static java.nio.file.StandardOpenOption.READ;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * The folder by way of which this start of the job puts finished files in place (terms.py). Another start
 * that takes over removes it, and nothing of this one gets through any more.
 */
final class Outlet {
    private final Path folder;

    Outlet(String folder) {
        this.folder = Path.of(folder);
    }

    /** Where a file is before it is put in place; it may be written there. */
    Path step(Path target) {
        return folder.resolve(target.getParent().getFileName() + "-" + target.getFileName());
    }

    /**
     * Rename a finished file, if it is not at its {@link #step} yet, to there, and then over the target.
     *
     * <p>A power cut leaves the target as it was before, or whole: the file is on the disk before it is renamed, and
     * the folder when this returns. Whoever has written to the step has flushed it.
     *
     * @throws IOException also when another start has taken over: the text says so
     */
    void put(Path source, Path target) throws IOException {
        Path step = step(target);
        try {
            if (!source.equals(step)) {
                flush(source);
                Files.move(source, step, StandardCopyOption.ATOMIC_MOVE);
            }
            Files.move(step, target, StandardCopyOption.ATOMIC_MOVE);
            flush(target.getParent());
        } catch (FileSystemException error) {
            throw explained(error);
        }
    }

    private static void flush(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, READ)) {
            channel.force(true);
        }
    }

    /** The same error, or what has caused it. */
    IOException explained(FileSystemException error) {
        return Files.isDirectory(folder)
                ? error
                : new IOException("Another start of the job has taken over, and has removed " + folder + ".", error);
    }
}
