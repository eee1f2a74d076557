package imdb.streaming;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/** Files of a bucket, which knows no rename, to their names in a table: by the executors. */
public final class Uploads {
    private Uploads() {}

    /** Copy each source (a URI) to its target, which appears, or is replaced, when its upload is completed. */
    public static void copy(SparkSession spark, List<String> sources, List<String> targets) {
        List<Tuple2<String, String>> files = new ArrayList<>();
        for (int file = 0; file < sources.size(); file++) {
            files.add(new Tuple2<>(sources.get(file), targets.get(file)));
        }
        JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
        SerializableConfiguration settings = new SerializableConfiguration(context.hadoopConfiguration());
        context.parallelize(files, files.size())
                .foreach(file -> copy(new Path(file._1()), new Path(file._2()), settings.value()));
    }

    private static void copy(Path source, Path target, Configuration settings) throws IOException {
        FileSystem bucket = source.getFileSystem(settings);
        long size = bucket.getFileStatus(source).getLen();
        try (FSDataInputStream in = bucket.open(source)) {
            FSDataOutputStream upload = bucket.create(target, true);
            try {
                long copied = in.transferTo(upload);
                if (copied != size) {
                    throw new IOException(source + ": " + copied + " of " + size + " bytes read");
                }
            } catch (IOException | RuntimeException | Error error) {
                // Closed it would show what is there so far.
                upload.abort();
                throw error;
            }
            upload.close();
        }
    }
}
