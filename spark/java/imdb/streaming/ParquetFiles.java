package imdb.streaming;

import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
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

/** Parquet files without a Spark job. Names are URIs. */
public final class ParquetFiles {
    private static final MessageType COUNTS =
            MessageTypeParser.parseMessageType(
                    "message spark_schema { optional binary genre (STRING); optional int64 movie_count; }");

    private ParquetFiles() {}

    /** Write the table genre_counts, rows in the order of the map. */
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
}
