# frozen_string_literal: true

require "fileutils"
require "jobtide/orphans"
require "jobtide/spool_file"

# What one process keeps on disk: events that could not be delivered, bounded in bytes, safe against a crash.
#
# `write` without fsync: it survives the process, not the machine. The file is locked as long as the process lives, which
# is how others see that it is dead and deliver what is left, under the epoch that its events carry (see Orphans). Used
# by the background thread; at the end of a process by the thread that ends it.
module Jobtide
  class Spool
    attr_reader :path, :written

    def initialize(directory, target, epoch, max_bytes)
      @directory = directory
      @target = target
      @path = SpoolFile.path(directory, target, epoch)
      @max_bytes = max_bytes
      @written = 0
      @size = @read = 0
      @lock = Mutex.new
    end

    # The files beside it that nobody who lives holds.
    def orphans
      Orphans.new(@directory, @target, own: @path)
    end

    # Whether about that many bytes would fit. Before the first write nobody knows what others have left.
    def room?(bytes)
      @size + bytes <= @max_bytes
    end

    # Whether something in it waits for delivery.
    def pending?
      @read < @size
    end

    # Keeps texts, as many as there is room for; returns how many. 0 when the disk refuses.
    def write(texts)
      @lock.synchronize do
        open_file if @file.nil?
        count, bytes = fitting(texts)
        return 0 if count.zero?

        append(bytes)
        @written += count
        count
      end
    rescue SystemCallError, IOError => e
      Jobtide.log.warn("jobtide: the spool cannot be written: #{e.message}") unless @complained
      @complained = true
      0
    end

    # Texts that wait, the oldest first, and what to pass to `delivered` once they are.
    def read(max_bytes)
      @lock.synchronize { @file ? SpoolFile.read(@file, @read, max_bytes) : [[], @read] }
    end

    # Everything before `offset` has been delivered; an empty file is cut to its header.
    def delivered(offset)
      @lock.synchronize do
        @read = offset
        next if @read < @size

        @file.truncate(SpoolFile::HEADER.bytesize)
        @read = @size = SpoolFile::HEADER.bytesize
      end
    end

    # What waits cannot be read: the disk has damaged it.
    def give_up
      Jobtide.log.warn("jobtide: #{@size - @read} bytes of the spool cannot be read")
      delivered(@size)
      nil
    end

    # The process ends: a file with nothing in it goes away, another stays for the next process.
    def close
      @lock.synchronize do
        next if @file.nil?

        File.unlink(@path) unless pending?
        @file.close
        @file = nil
      end
    rescue SystemCallError
      nil
    end

    private

    def open_file
      FileUtils.mkdir_p(@directory, mode: 0o700)
      used = SpoolFile.all(@directory, @target).sum { |other| File.size?(other) || 0 }
      @max_bytes = [@max_bytes - used, 0].max
      # It gets its name once it is locked: nobody may take it for a dead one's in between.
      file = File.open("#{@path}.new", File::RDWR | File::CREAT | File::TRUNC | File::APPEND, 0o600)
      file.flock(File::LOCK_EX)
      File.rename("#{@path}.new", @path)
      file.binmode
      file.sync = true
      @file = file
      @read = SpoolFile::HEADER.bytesize
      @size = 0
      append(SpoolFile::HEADER)
    end

    def fitting(texts)
      bytes = +"".b
      count = 0
      texts.each do |text|
        record = SpoolFile.record(text.json)
        break if @size + bytes.bytesize + record.bytesize > @max_bytes

        bytes << record
        count += 1
      end
      [count, bytes]
    end

    # All of it or, as far as the file is concerned, nothing: what follows a torn record could not be read.
    def append(bytes)
      @file.write(bytes)
      @size += bytes.bytesize
    rescue SystemCallError
      @file.truncate(@size)
      raise
    end
  end
end
