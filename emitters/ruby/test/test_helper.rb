# frozen_string_literal: true

require "minitest/autorun"
require "minitest/mock"
require "json"
require "logger"
require "stringio"
require "fileutils"
require "tmpdir"
require "jobtide"
require "jobtide/transports/memory"

ENV["TMPDIR"] = Dir.mktmpdir("jobtide-test-") # processes of a host elect one of them there
own = Process.pid
Minitest.after_run { FileUtils.rm_rf(ENV["TMPDIR"]) if Process.pid == own }

# What the tests share: an emitter on a memory transport, a check of every event against the contract, and waiting with a
# deadline.
module JobtideTest
  CONTRACT = File.expand_path("../../contract", __dir__)

  def setup
    super
    @logged = StringIO.new
    Jobtide.log = Logger.new(@logged)
    Jobtide.sites.each_value { |site| site.fault = nil }
    Jobtide::Backend.current = Jobtide::Backend.run = nil # what a fault in an earlier test has left
    @errors_before = errors_by_site
  end

  def teardown
    Jobtide.close(200)
    left = Thread.list.select { |thread| %w[jobtide-snapshots jobtide-lost].include?(thread.name) }
    left.each(&:kill).each { |thread| thread.join(5) } # they would read the next test's tables, and fail in its name
    Jobtide.log = nil
    super
  end

  # An emitter on a memory transport that is there at once.
  def emitter(partitions = 8, **settings)
    @memory = Jobtide::Transports::Memory.new(partitions)
    Jobtide.configure(transport: -> { @memory }, linger_ms: 0, tenant: "acme", environment: "test", **settings)
  end

  def flushed
    assert Jobtide.flush(5000), "not delivered: #{@logged.string}"
    @memory.events
  end

  def no_errors
    assert_equal({}, errors_by_site.select { |site, errors| errors > @errors_before.fetch(site, 0) }, @logged.string)
  end

  def errors_by_site
    Jobtide.sites.transform_values(&:errors)
  end

  def eventually(what = "it", seconds = 5)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
    until (found = yield)
      flunk "#{what} did not happen in #{seconds} s: #{@logged&.string}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.005
    end
    found
  end

  # Makes a call site faulty while the block uses its backend, whose jobs must not notice. It has to be called, if only in a thread.
  def with_a_mistake_in(name)
    hits = 0
    Jobtide.sites.fetch(name).fault = -> { (hits += 1) && raise(NotImplementedError, "a mistake") }
    yield
    eventually("a call of #{name}") { hits.positive? }
  end

  # A backend's gem, or where it is not installed the stand-in of its documented interface.
  def self.backend(name)
    require name
  rescue LoadError
    $LOAD_PATH << File.expand_path("stand_ins", __dir__)
    require name
  end

  # What a forked child returns from the block, as JSON.
  def in_fork
    reader, writer = IO.pipe
    pid = fork do
      reader.close
      writer.write(JSON.generate(yield))
      writer.close
      exit!(0)
    end
    writer.close
    JSON.parse(reader.read)
  ensure
    Process.wait(pid)
  end
end

# A gateway that answers as it is told and keeps what it got. `answers`: [status, headers, body] each, then 202s.
class FakeGateway
  attr_reader :requests

  def initialize(*answers)
    require "socket"
    @answers = answers
    @requests = Queue.new
    @server = TCPServer.new("127.0.0.1", 0)
    @thread = Thread.new { loop { serve(@server.accept) } }
    @thread.report_on_exception = false
  end

  def url
    "http://127.0.0.1:#{@server.addr[1]}/v1/events"
  end

  def events
    Array.new(@requests.size) { @requests.pop.tap { |request| @requests << request } }.flat_map { |request| request[:events] }
  end

  def close
    @thread.kill
    @server.close
  end

  private

  def serve(socket)
    Thread.new do
      while (line = socket.gets)
        headers = {}
        while (header = socket.gets.chomp) != ""
          name, value = header.split(": ", 2)
          headers[name.downcase] = value
        end
        body = socket.read(headers["content-length"].to_i)
        answer(socket, line, headers, body)
      end
    rescue IOError, SystemCallError
      nil
    end
  end

  def answer(socket, line, headers, body)
    status, more, text = @answers.shift || [202, {}, '{"accepted":1,"rejected":[]}']
    return socket.close if status == :hang_up

    text = Zlib.gunzip(body) if headers["content-encoding"] == "gzip" && text.nil?
    events = status == 202 ? Zlib.gunzip(body).lines.map { |event| JSON.parse(event) } : []
    @requests << { line: line, headers: headers, events: events, status: status }
    text ||= "{}"
    socket.write("HTTP/1.1 #{status} X\r\ncontent-length: #{text.bytesize}\r\n#{more.map { |n, v| "#{n}: #{v}\r\n" }.join}\r\n#{text}")
  end
end
