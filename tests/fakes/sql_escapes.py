"""SQL that tries to get out of what analysts may do: other tables and tenants, files, the network, writes, settings, time and memory.

Each must be refused, or answer with nothing that is not the caller's. Data only; used by unit and integration tests.
"""

ESCAPES = [
    # other tables, by every way to name one
    "SELECT * FROM job_executions", "SELECT * FROM job_events", "SELECT * FROM analyst_executions", "SELECT * FROM audit_log",
    "SELECT * FROM jobtide.executions", "SELECT * FROM default.executions", "SELECT * FROM system.tables", "SELECT * FROM system.users",
    "SELECT * FROM information_schema.tables", "SELECT * FROM `job_executions`", 'SELECT * FROM "job_executions"',
    "SELECT * FROM listed_executions", "SELECT * FROM executions, job_executions", "SELECT * FROM executions JOIN job_executions USING (job_id)",
    "SELECT (SELECT count() FROM job_executions)", "SELECT * FROM executions WHERE job_id IN (SELECT job_id FROM job_executions)",
    "SELECT * FROM executions WHERE job_id IN job_executions", "SELECT * FROM executions WHERE (job_id) IN job_executions",
    "SELECT 1 IN writer_progress", "SELECT * FROM executions UNION ALL SELECT * FROM job_executions",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM job_executions))", "SELECT arrayMap(x -> (SELECT count() FROM job_events), [1])",
    "WITH job_executions AS (SELECT 1 AS a) SELECT * FROM executions, (SELECT * FROM system.one)",
    "WITH x AS (SELECT * FROM job_executions) SELECT * FROM x", "SELECT EXISTS(SELECT * FROM job_executions)",
    "SELECT * FROM executions WHERE EXISTS (SELECT 1 FROM job_events)", "EXISTS TABLE job_executions", "SELECT * FROM {t:Identifier}",
    "SELECT * FROM executions WHERE tenant = {tenant:String}", "FROM job_executions SELECT *", "TABLE job_executions",
    # table functions
    "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1/a/b', 'CSV', 'a String')", "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM merge('jobtide', '.*')", "SELECT * FROM merge('.*executions')", "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM numbers(10)", "SELECT * FROM numbers_mt(1000000000000)", "SELECT * FROM generateRandom('a Int8')", "SELECT * FROM zeros(10)",
    "SELECT * FROM input('a Int8')", "SELECT * FROM executable('id', 'TSV', 'a String')", "SELECT * FROM values('a Int8', 1)",
    "SELECT * FROM VALUES('a Int8', 1)", "SELECT * FROM view(SELECT 1)", "SELECT * FROM viewIfPermitted(SELECT 1 ELSE null('a Int8'))",
    "SELECT * FROM mysql('127.0.0.1', 'a', 'b', 'c', 'd')", "SELECT * FROM postgresql('127.0.0.1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM hdfs('hdfs://a/b', 'CSV', 'a String')", "SELECT * FROM sqlite('/tmp/a', 'b')", "SELECT * FROM dictionary('d')",
    "SELECT * FROM executions JOIN file('/etc/passwd', 'LineAsString') ON 1", "SELECT * FROM null('a Int8')", "SELECT * FROM loop(executions)",
    "SELECT * FROM fileCluster('c', '/etc/passwd', 'LineAsString')", "SELECT * FROM python('x')", "SELECT * FROM Python(os)",
    # functions that reach out
    "SELECT file('/etc/passwd')", "SELECT FILE('/etc/passwd')", "SELECT `file`('/etc/passwd')", "SELECT \"file\"('/etc/passwd')",
    "SELECT file/**/('/etc/passwd')", "SELECT file ('/etc/passwd')", "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
    "SELECT dictGet('d', 'a', 1)", "SELECT joinGet('t', 'a', 1)", "SELECT getSetting('max_threads')", "SELECT currentUser()", "SELECT hostName()",
    "SELECT version()", "SELECT getMacro('x')", "SELECT getServerPort('http_port')", "SELECT currentDatabase()", "SELECT serverUUID()",
    "SELECT hasColumnInTable('jobtide', 'job_executions', 'tenant')", "SELECT filesystemAvailable()", "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM executions", "SELECT showCertificate()", "SELECT reverseDNSQuery('1.1.1.1')", "SELECT catboostEvaluate('/m', 1)",
    "SELECT addressToLine(1)", "SELECT queryID()", "SELECT connectionId()", "SELECT getClientHTTPHeader('authorization')",
    "SELECT blockSerializedSize(1)", "SELECT arrayReduce('count', [1])", "SELECT initializeAggregation('file', 'x')",
    "SELECT fileIf('/etc/passwd', 1)", "SELECT evalMLMethod(1)", "SELECT countIf(file('/etc/passwd') != '') FROM executions",
    "SELECT * APPLY(file) FROM executions", "SELECT * APPLY file FROM executions", "SELECT COLUMNS('queue') APPLY(file) FROM executions",
    "SELECT COLUMNS('.*') FROM executions", "SELECT quantile(0.5)(file('/x')) FROM executions", "SELECT if(file('/etc/passwd') = '', 1, 2)",
    "SELECT x.file('/etc/passwd') FROM executions AS x", "SELECT system.file('/etc/passwd')", "SELECT CAST(file('/etc/passwd') AS String)",
    "SELECT file('/etc/passwd')::String", "SELECT [file('/etc/passwd')]", "SELECT (file('/x'), 1)", "SELECT 1 ORDER BY file('/etc/passwd')",
    "SELECT 1 LIMIT toUInt64(file('/x'))", "SELECT count() FROM executions GROUP BY file('/x')",
    "SELECT sum(1) OVER (ORDER BY file('/x')) FROM executions", "WITH file('/etc/passwd') AS secret SELECT secret",
    "SELECT 1 FROM executions QUALIFY file('/x') = ''", "SELECT 1 FROM executions ARRAY JOIN [file('/x')] AS f", "SELECT fıle('/etc/passwd')",
    # settings, formats, files, other statements
    "SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_execution_time = 0", "SELECT * FROM (SELECT 1 SETTINGS additional_table_filters = {})",
    "SELECT 1 FORMAT TSV", "SELECT 1 INTO OUTFILE '/tmp/out'", "SELECT 1 INTO OUTFILE '/tmp/out' TRUNCATE FORMAT CSV",
    "SELECT 1 INTO DUMPFILE '/tmp/x'", "SET readonly = 0", "INSERT INTO deploys (tenant) VALUES ('x')",
    "INSERT INTO FUNCTION file('/tmp/x') SELECT 1", "CREATE TABLE x (a Int8) ENGINE = Memory", "CREATE VIEW v AS SELECT 1", "DROP TABLE deploys",
    "DROP DATABASE jobtide", "ALTER TABLE deploys DELETE WHERE 1", "TRUNCATE TABLE deploys", "RENAME TABLE a TO b", "OPTIMIZE TABLE job_events",
    "SYSTEM SHUTDOWN", "SYSTEM FLUSH LOGS", "KILL QUERY WHERE 1", "GRANT ALL ON *.* TO x", "CREATE USER x", "ATTACH TABLE x",
    "DETACH TABLE job_events", "SHOW TABLES", "SHOW CREATE TABLE job_events", "DESCRIBE TABLE job_events", "DESC executions", "EXPLAIN SELECT 1",
    "USE system", "BACKUP TABLE a TO Disk('d', 'x')", "EXCHANGE TABLES a AND b", "CHECK TABLE job_events", "WATCH x", "DELETE FROM deploys WHERE 1",
    "UPDATE deploys SET note = '' WHERE 1", "EXECUTE IMMEDIATE 'SELECT 1'", "BEGIN TRANSACTION", "PRAGMA x", "CALL x()",
    # several statements, comments, odd characters
    "SELECT 1; DROP TABLE deploys", "SELECT 1; SELECT 2", "SELECT 1;; SELECT 2", "SELECT 1 -- \n; DROP TABLE deploys", "/* */; SELECT 1; SELECT 2",
    "SELECT 1 PARALLEL WITH DROP TABLE deploys", "", " ", ";", "--", "SELECT", "SELECT * FROM", "(((((", "SELECT '", "SELECT 1\x00",
    "SELECT \x00file('/x')", "SELECT 1 FROM executions FINAL", "SELECT * FROM executions SAMPLE 0.1", "SELECT * FROM executions PREWHERE 1",
    "SELECT @@version", "SELECT ?", "SELECT :x", "SELECT $1", "SELECT {x:String}", "SELECT * FROM executions AS OF 1",
    "SELECT $$a$$ FROM system.one", "SELECT * FROM executions WHERE tenant = 'x' OR file('/x') = ''",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t", "SELECT * FROM cte_x",
    # what ClickHouse takes for a quote, and one name in brackets, which is a table to it
    "SELECT \u2018, ' \u2019, file(\u2018/etc/passwd\u2019) -- '", "SELECT \u201c, ' \u201d, file(1) -- '",
    "SELECT 1 AS `a\\`, 2 AS ` FROM audit_log -- ` ",
    "SELECT 1 AS `a\\\\`", 'SELECT 1 AS "a\\", file(1) -- "', "SELECT 1 AS `a``, file(1)`", "SELECT 1 FROM executions WHERE job_id IN (audit_log)",
    "SELECT 1 FROM executions WHERE job_id IN ((audit_log))", "SELECT 1 NOT IN (jobtide.audit_log)", "SELECT 1 GLOBAL IN (job_executions)",
    "SELECT 1 IN (audit_log AS a)", "SELECT 1 IN (`audit_log`)", "SELECT 1 IN (executions)", "SELECT caf\u00e9 FROM executions",
    # what it takes for a space
    *(
        sql.replace("~", space)
        for space in ("\u200b", "\ufeff", "\u2060", "\u180e", "\u200e")
        for sql in ("SELECT ~file('/etc/passwd')", "SELECT path, query AS a~FROM~audit_log", "SELECT ~job_id~FROM~merge('.*')", "SELECT 1~;~SELECT 2")
    ),
]  # fmt: skip

# Sound, and of one tenant only whatever they try.
CONFINED = [
    "SELECT DISTINCT tenant FROM executions", "SELECT DISTINCT tenant FROM executions WHERE tenant = 'globex' OR 1",
    "SELECT DISTINCT e.tenant FROM executions AS e", "SELECT DISTINCT tenant FROM (SELECT * FROM executions)",
    "SELECT DISTINCT tenant FROM rollups UNION ALL SELECT DISTINCT tenant FROM events",
    "WITH executions AS (SELECT * FROM executions) SELECT DISTINCT tenant FROM executions",
    "WITH x AS (SELECT tenant FROM executions) SELECT DISTINCT tenant FROM x",
    "SELECT DISTINCT b.tenant FROM rollup_hours AS a FULL JOIN executions AS b ON a.queue = b.queue",
    "SELECT DISTINCT tenant FROM failed_executions", 'SELECT DISTINCT tenant FROM executions AS "analyst_executions"',
    'SELECT DISTINCT "globex".tenant FROM executions AS globex', "SELECT DISTINCT tenant FROM executions -- WHERE tenant = 'globex'",
    "SELECT DISTINCT tenant FROM executions WHERE job_id IN (SELECT job_id FROM events WHERE tenant != 'acme') OR 1",
    "SELECT groupUniqArray(tenant)[1] FROM executions", "SELECT any(tenant) FROM executions GROUP BY tenant WITH TOTALS",
]  # fmt: skip
