# frozen_string_literal: true

require "tmpdir"
require "zlib"

# Which process of a host looks at something that all its processes can see, where nothing but the host is shared: the one
# that holds a lock on a file, as long as it lives.
module Jobtide
  class Election
    @held = {}

    # Whether this process is the one that looks at the subject.
    def self.won?(subject)
      path = File.join(Dir.tmpdir, format("jobtide-%d-%08x.lock", ::Process.uid, Zlib.crc32(subject)))
      return true if @held[path] && @held[path][0] == ::Process.pid

      file = File.open(path, File::RDWR | File::CREAT | File::NOFOLLOW, 0o600)
      return file.close || false unless file.flock(File::LOCK_EX | File::LOCK_NB)

      @held[path] = [::Process.pid, file]
      true
    end
  end
end
