-- What columns do the analysts' views have?
SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND table IN {views:Array(String)} ORDER BY table, position
