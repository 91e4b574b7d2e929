# frozen_string_literal: true

require "fileutils"
require "tmpdir"

# A PostgreSQL of the tests' own, from the system's package: on a Unix socket in a directory, without durability, until the
# tests end. nil where it is not installed.
module PostgresServer
  CONTROL = Dir["/usr/lib/postgresql/*/bin/pg_ctl"].max

  def self.start
    return if CONTROL.nil?

    @home ||= begin
      home = Dir.mktmpdir("jobtide-pg-", "/tmp") # short: it is a socket's path
      File.chmod(0o777, home)
      run("initdb", "-D", "#{home}/data", "-o", "-A trust -U postgres -E UTF8 --no-sync")
      run("start", "-w", "-D", "#{home}/data", "-l", "#{home}/log", "-o", "-c listen_addresses= -c unix_socket_directories=#{home} -c fsync=off")
      own = Process.pid
      Minitest.after_run { stop(home) if Process.pid == own }
      home
    end
  end

  def self.stop(home)
    run("stop", "-D", "#{home}/data", "-m", "immediate")
    FileUtils.rm_rf(home)
  end

  # It refuses to run as root.
  def self.run(*arguments)
    as_user = Process.uid.zero? ? %w[runuser -u postgres --] : []
    system(*as_user, CONTROL, *arguments, out: File::NULL, err: File::NULL, chdir: "/") || raise("pg_ctl #{arguments[0]} failed")
  end
end
