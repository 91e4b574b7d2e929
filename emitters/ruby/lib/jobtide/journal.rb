# frozen_string_literal: true

require "fileutils"
require "jobtide/spool_file"

# Events on disk before their hook returns (setting `spool_first`): a process that is killed has told everything it saw.
#
# Small files in the format of the spool, written without fsync and removed once what they hold is acknowledged. A killed
# process leaves its last ones, and the next process of the directory delivers them, under the epoch of the dead one; what had
# been delivered before comes twice, which the stream sees by its numbers. Not what waits in an outage: that is the spool.
module Jobtide
  class Journal
    SEGMENT_BYTES = 128 << 10
    Segment = Struct.new(:path, :file, :bytes, :last_order)

    def initialize(directory, target, epoch, max_bytes)
      @directory = directory
      @target = target
      @epoch = epoch
      @max_bytes = max_bytes
      @segments = []
      @number = 0
      @lock = Mutex.new
    end

    # Called in the thread of a hook. One write that does not wait for other threads, as long as there is room.
    def append(json, order)
      @lock.synchronize do
        return if @broken

        record = SpoolFile.record(json)
        segment = @segments[-1]
        segment = open_segment if segment.nil? || segment.bytes + record.bytesize > SEGMENT_BYTES
        written = segment.file.write_nonblock(record)
        segment.bytes += written == record.bytesize ? written : SEGMENT_BYTES # torn: nothing may follow it
        segment.last_order = order if order > segment.last_order
      end
    rescue SystemCallError, IOError => e
      @broken = true
      Jobtide.log.warn("jobtide: events are not on disk first any more: #{e.message}")
    end

    # Everything up to this order has been acknowledged, or is in the spool.
    def settled(order)
      return if @segments.empty?

      @lock.synchronize { discard(@segments.shift) while @segments.any? && @segments[0].last_order <= order }
    end

    # The process ends. What is not `safe` elsewhere stays for the next one.
    def close(safe:)
      @lock.synchronize do
        @broken = true
        safe ? @segments.each { |segment| discard(segment) } : @segments.each { |segment| segment.file.close }
        @segments = []
      end
    end

    private

    # The oldest go when there are too many: by then they are in the spool.
    def open_segment
      discard(@segments.shift) while (@segments.size + 1) * SEGMENT_BYTES > [@max_bytes, 2 * SEGMENT_BYTES].max
      FileUtils.mkdir_p(@directory, mode: 0o700) if @number.zero?
      path = SpoolFile.path(@directory, @target, "#{@epoch}-#{@number += 1}")
      # It gets its name once it is locked: nobody may take it for a dead one's in between.
      file = File.open("#{path}.new", File::WRONLY | File::CREAT | File::TRUNC | File::APPEND, 0o600)
      file.flock(File::LOCK_EX)
      File.rename("#{path}.new", path)
      file.binmode
      file.sync = true
      file.write_nonblock(SpoolFile::HEADER)
      @segments << Segment.new(path, file, SpoolFile::HEADER.bytesize, 0)
      @segments[-1]
    end

    def discard(segment)
      File.unlink(segment.path)
      segment.file.close
    rescue SystemCallError, IOError
      nil
    end
  end
end
