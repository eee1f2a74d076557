package imdb.streaming;

import com.globalmentor.apache.hadoop.fs.NakedLocalFileSystem;
import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Local files by names term://TERM/PATH, whose renames go by way of the term's {@link Outlet}: for Spark's
 * checkpoint, of which each file appears by a rename.
 *
 * <p>Spark looks whether the file is there, and renames if it is not. A job that was paused in between, or
 * before, would put its own plan of a batch in the place of its successor's.
 */
public final class TermFileSystem extends NakedLocalFileSystem {
    /** The setting that names the folder of the outlet. */
    static final String OUT = "imdb.streaming.out";

    private URI name;
    private Outlet outlet;

    @Override
    public void initialize(URI name, Configuration configuration) throws IOException {
        this.name = URI.create(name.getScheme() + "://" + name.getAuthority() + "/");
        outlet = new Outlet(configuration.get(OUT));
        super.initialize(name, configuration);
    }

    @Override
    public URI getUri() {
        // It is asked for while the class above is made.
        return name == null ? super.getUri() : name;
    }

    @Override
    public boolean rename(Path source, Path target) throws IOException {
        outlet.put(pathToFile(source).toPath(), pathToFile(target).toPath());
        return true;
    }
}
