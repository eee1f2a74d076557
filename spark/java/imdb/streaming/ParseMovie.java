package imdb.streaming;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.api.java.UDF1;

/**
 * Reads a message's value as a movie: the fields of schema.PARSED_SCHEMA, `reason` last.
 *
 * <p>A reason is null for a movie within the contract, else the first thing wrong with the message;
 * the other fields mean nothing then. It never quotes the message, and no input makes this fail.
 */
public final class ParseMovie implements UDF1<byte[], Row> {
    private static final long serialVersionUID = 1;

    private static final String NOT_JSON = "the message is not one JSON object";
    private static final String UNPAIRED = " has an unpaired surrogate";
    private static final List<String> FIELDS =
            List.of("tconst", "primaryTitle", "startYear", "runtimeMinutes", "genres", "averageRating", "numVotes");
    private static final String[] WANTED = {
        "a string", "a string", "an integer", "an integer or null", "a list of strings", "a number", "an integer"
    };
    private static final JsonFactory JSON =
            JsonFactory.builder()
                    // Which of two values would be meant, nobody can say.
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                    .build();

    /** Stands for a value of another JSON type than the field's. */
    private static final Object WRONG_TYPE = new Object();

    /** Stands for JSON's null where a field may be null. */
    private static final Object NULL = new Object();

    @Override
    public Row call(byte[] value) {
        if (value == null || value.length == 0) {
            return malformed("the message is empty");
        }
        CharBuffer text;
        try {
            // Not left to the JSON parser, which would also read UTF-16, UTF-32 and a byte order mark.
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value));
        } catch (CharacterCodingException error) {
            return malformed("the message is not UTF-8");
        }
        Object[] fields;
        try (JsonParser parser = JSON.createParser(text.array(), text.arrayOffset(), text.length())) {
            fields = read(parser);
        } catch (IOException error) {
            return malformed(NOT_JSON);
        }
        if (fields == null) {
            return malformed(NOT_JSON);
        }
        String reason = typeProblem(fields);
        if (reason == null) {
            reason = valueProblem(fields);
        }
        return reason == null ? movie(fields) : malformed(reason);
    }

    /** The fields' values, absent ones null; or null if the text is not one JSON object. */
    private static Object[] read(JsonParser parser) throws IOException {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            return null;
        }
        Object[] fields = new Object[FIELDS.size()];
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            int field = FIELDS.indexOf(parser.currentName());
            JsonToken token = parser.nextToken();
            if (field < 0) {
                parser.skipChildren();
            } else {
                fields[field] = value(parser, field, token);
            }
        }
        return parser.nextToken() == null ? fields : null;
    }

    private static Object value(JsonParser parser, int field, JsonToken token) throws IOException {
        switch (FIELDS.get(field)) {
            case "tconst":
            case "primaryTitle":
                return token == JsonToken.VALUE_STRING ? parser.getText() : skip(parser);
            case "runtimeMinutes":
                return token == JsonToken.VALUE_NULL ? NULL : integer(parser, token);
            case "genres":
                return token == JsonToken.START_ARRAY ? strings(parser) : skip(parser);
            case "averageRating":
                return token.isNumeric() ? (Object) parser.getDoubleValue() : skip(parser);
            default:
                return integer(parser, token);
        }
    }

    private static Object integer(JsonParser parser, JsonToken token) throws IOException {
        if (token != JsonToken.VALUE_NUMBER_INT || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            return skip(parser);
        }
        return parser.getLongValue();
    }

    private static Object strings(JsonParser parser) throws IOException {
        List<String> strings = new ArrayList<>();
        boolean areStrings = true;
        for (JsonToken token = parser.nextToken(); token != JsonToken.END_ARRAY; token = parser.nextToken()) {
            if (token == JsonToken.VALUE_STRING) {
                strings.add(parser.getText());
            } else {
                areStrings = false;
                parser.skipChildren();
            }
        }
        return areStrings ? strings.toArray(new String[0]) : WRONG_TYPE;
    }

    private static Object skip(JsonParser parser) throws IOException {
        parser.skipChildren();
        return WRONG_TYPE;
    }

    private static String typeProblem(Object[] fields) {
        for (int field = 0; field < FIELDS.size(); field++) {
            if (fields[field] == null) {
                return FIELDS.get(field) + " is missing";
            }
            if (fields[field] == WRONG_TYPE) {
                return FIELDS.get(field) + " is not " + WANTED[field];
            }
        }
        return null;
    }

    private static String valueProblem(Object[] fields) {
        if (!isTconst((String) fields[0])) {
            return "tconst is not tt and digits";
        }
        if (((String) fields[1]).chars().allMatch(character -> character == ' ')) {
            return "primaryTitle is empty";
        }
        if (!canBeHeld((String) fields[1])) {
            return "primaryTitle" + UNPAIRED;
        }
        long year = (Long) fields[2];
        if (year != (int) year) {
            return "startYear does not fit 32 bits";
        }
        if (fields[3] != NULL && !isCount((Long) fields[3])) {
            return "runtimeMinutes is not from 0 to 2147483647";
        }
        if (!canBeHeld((String[]) fields[4])) {
            return "genres" + UNPAIRED;
        }
        double rating = (Double) fields[5];
        if (!(rating >= 0 && rating <= 10)) {
            return "averageRating is not from 0 to 10";
        }
        return isCount((Long) fields[6]) ? null : "numVotes is not from 0 to 2147483647";
    }

    private static boolean isTconst(String text) {
        if (text.length() < 3 || !text.startsWith("tt")) {
            return false;
        }
        return text.chars().skip(2).allMatch(character -> character >= '0' && character <= '9');
    }

    /** Whether UTF-8 can hold them: it has no half of a surrogate pair, which JSON can escape. */
    private static boolean canBeHeld(String... texts) {
        for (String text : texts) {
            for (int at = 0, point; at < text.length(); at += Character.charCount(point)) {
                point = text.codePointAt(at);
                if (point >= Character.MIN_SURROGATE && point <= Character.MAX_SURROGATE) {
                    return false;
                }
            }
        }
        return true;
    }

    private static boolean isCount(long number) {
        return number >= 0 && number <= Integer.MAX_VALUE;
    }

    private static Row movie(Object[] fields) {
        Object runtime = fields[3] == NULL ? null : (Object) ((Long) fields[3]).intValue();
        return RowFactory.create(
                fields[0],
                fields[1],
                ((Long) fields[2]).intValue(),
                runtime,
                fields[4],
                fields[5],
                ((Long) fields[6]).intValue(),
                null);
    }

    private static Row malformed(String reason) {
        return RowFactory.create(null, null, null, null, null, null, null, reason);
    }
}
