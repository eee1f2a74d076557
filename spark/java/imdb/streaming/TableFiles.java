package imdb.streaming;

import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.hadoop.util.HadoopOutputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;

/** Files of tables that Spark's writers do not make. Names are URIs. */
public final class TableFiles {
    private static final MessageType COUNTS =
            MessageTypeParser.parseMessageType(
                    "message spark_schema { optional binary genre (STRING); optional int64 movie_count; }");

    private TableFiles() {}

    /** Write the table genre_counts without a Spark job, rows in the order of the map. */
    public static void writeCounts(Map<String, ? extends Number> counts, String target, Configuration configuration)
            throws IOException {
        SimpleGroupFactory groups = new SimpleGroupFactory(COUNTS);
        try (ParquetWriter<Group> writer =
                ExampleParquetWriter.builder(HadoopOutputFile.fromPath(new Path(target), configuration))
                        .withType(COUNTS)
                        .withConf(configuration)
                        .withCompressionCodec(CompressionCodecName.SNAPPY)
                        .withWriteMode(ParquetFileWriter.Mode.OVERWRITE)
                        .build()) {
            for (Map.Entry<String, ? extends Number> row : counts.entrySet()) {
                writer.write(
                        groups.newGroup().append("genre", row.getKey()).append("movie_count", row.getValue().longValue()));
            }
        }
    }

    /**
     * Let executors copy files of a bucket, which knows no rename, from these sources to these targets. Each target
     * appears, or is replaced, when its upload is completed.
     */
    public static void upload(JavaSparkContext context, Map<String, String> files) {
        SerializableConfiguration settings = new SerializableConfiguration(context.hadoopConfiguration());
        context.parallelize(new ArrayList<>(files.keySet()), files.size())
                .foreach(source -> copy(new Path(source), new Path(files.get(source)), settings.value()));
    }

    private static void copy(Path source, Path target, Configuration settings) throws IOException {
        FileSystem bucket = source.getFileSystem(settings);
        long size = bucket.getFileStatus(source).getLen();
        try (FSDataInputStream in = bucket.open(source)) {
            upload(
                    bucket,
                    target,
                    out -> {
                        long copied = in.transferTo(out);
                        if (copied != size) {
                            throw new IOException(source + ": " + copied + " of " + size + " bytes read");
                        }
                    });
        }
    }

    /** Writes what a file is to hold. */
    interface Content {
        void writeTo(OutputStream out) throws IOException;
    }

    /** Write a file of a bucket: it appears, or replaces the one of before, when its upload is completed. */
    static void upload(FileSystem bucket, Path target, Content content) throws IOException {
        FSDataOutputStream upload = bucket.create(target, true);
        try {
            content.writeTo(upload);
        } catch (IOException | RuntimeException | Error error) {
            // Closed it would show what is there so far.
            upload.abort();
            throw error;
        }
        upload.close();
    }
}
