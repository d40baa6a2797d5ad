import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

/**
 * One query in one Flink, inside this JVM: RunSql TABLES QUERY RESULT key=value ...
 *
 * <p>TABLES holds statements that end in a semicolon and a line's end, QUERY one SELECT. With RESULT "-" the rows go into a blackhole
 * and the job's own runtime is printed (no start of the JVM, no planning). Otherwise the rows are folded (a retraction takes
 * its row back) and written to the file RESULT: a line for each row, how often it stands in the result before it. Where Flink gives no
 * retraction for an update, because it knows a key of the rows, the property "key" says how many of the first columns that are.
 */
public final class RunSql {
    private RunSql() {}

    public static void main(String[] args) throws Exception {
        Configuration configuration = new Configuration();
        for (int i = 3; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            configuration.setString(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        TableEnvironment environment = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        for (String statement : Files.readString(Path.of(args[0])).split(";\\s*\\n")) {
            if (!statement.isBlank()) {
                environment.executeSql(statement);
            }
        }
        Table query = environment.sqlQuery(Files.readString(Path.of(args[1])));
        if (args[2].equals("-")) {
            TableResult result = query.executeInsert(TableDescriptor.forConnector("blackhole").build());
            long millis = result.getJobClient().orElseThrow().getJobExecutionResult().get().getNetRuntime();
            System.out.println("runtime_ms " + millis);
        } else {
            fold(query.execute(), Path.of(args[2]));
        }
        System.exit(0);
    }

    private static void fold(TableResult result, Path file) throws Exception {
        int keyColumns = Integer.getInteger("key", 0);
        Map<String, String> newest = new TreeMap<>();
        Map<String, Long> rows = new TreeMap<>();
        try (CloseableIterator<Row> changes = result.collect()) {
            while (changes.hasNext()) {
                Row change = changes.next();
                boolean given = change.getKind() == RowKind.INSERT || change.getKind() == RowKind.UPDATE_AFTER;
                StringBuilder text = new StringBuilder();
                StringBuilder key = new StringBuilder();
                for (int i = 0; i < change.getArity(); i++) {
                    text.append(i == 0 ? "" : "\u001f").append(change.getField(i));
                    if (i + 1 == keyColumns) {
                        key.append(text);
                    }
                }
                if (keyColumns == 0) {
                    rows.merge(text.toString(), given ? 1L : -1L, Long::sum);
                } else if (given) {
                    newest.put(key.toString(), text.toString());
                } else {
                    newest.remove(key.toString());
                }
            }
        }
        newest.values().forEach(row -> rows.put(row, 1L));
        StringBuilder lines = new StringBuilder();
        rows.forEach((row, count) -> {
            if (count != 0) {
                lines.append(count).append('\u001f').append(row).append('\n');
            }
        });
        Files.write(file, lines.toString().getBytes(StandardCharsets.UTF_8));
    }
}
