"""Words of programming that mean much the same: so that ``fetch_page`` and ``download(url)`` share something.

One line, one notion; a word may stand in several. They are kept as stems (``words.stem``). The lines are of our own
making, from what functions usually are called; they hold no names of libraries.
"""

from __future__ import annotations

from functools import cache

from poet.sharing.stems import stem

NOTIONS = """
get fetch retrieve download pull obtain acquire request query lookup receive
put send upload push post submit publish emit transmit deliver dispatch notify
http https url uri web page site rest endpoint client request response header html
network socket tcp udp connection connect host port server peer address remote dns resolve hostname
read load open parse input scan ingest
write save dump store persist output export flush
file path filename folder directory dir filesystem disk
list enumerate walk glob iterate traverse children entries contents
delete remove unlink erase drop purge clear discard rmtree
copy clone duplicate replicate move rename transfer replace
create make build construct new generate initialize init
parse decode deserialize loads unmarshal unpickle interpret evaluate literal
serialize dump dumps encode marshal pickle stringify format
json yaml toml xml csv ini plist config configuration document
compress deflate gzip zip lzma bzip archive pack zlib
decompress inflate gunzip unzip extract unpack expand
hash digest checksum md5 sha sha1 sha256 crc crc32 fingerprint hmac adler
encrypt cipher encryption aes sign signature seal
decrypt decryption verify unseal
base64 hex hexlify ascii85 base32 encode escape quote percent quoting binary
unescape unquote unhexlify decode
regex regexp pattern match search expression find occurrence wildcard fnmatch
sort order rank sorted ordering ascending descending smallest largest heap bisect
filter select keep predicate where condition criteria
join merge combine concat concatenate union stack append
split partition chunk divide separate tokenize
count number length size tally len cardinality
sum total add accumulate aggregate cumulative cumsum
mean average median mode centre center central tendency expectation
variance deviation stdev std spread dispersion standard quantile percentile
minimum maximum min max extreme smallest largest highest lowest
matrix linear algebra solve inverse inv determinant eigen svd decomposition factorization lu qr cholesky
vector array tensor ndarray axis dimension shape
optimize minimize maximize minimise optimum objective argmin fit least squares curve fitting
gradient derivative slope jacobian hessian differentiate
integrate quadrature integral ode trapezoid simpson
root zero roots bisection newton brentq bracket
interpolate spline interpolation piecewise smoothing
fourier fft spectrum frequency dft transform periodogram signal
convolve filter correlation correlate kernel window signal
random sample draw shuffle choice uniform normal gauss gaussian distribution rng seed
probability distribution density cdf pdf statistic likelihood
test hypothesis pvalue significance null ttest statistic
cluster kmeans group centroid dbscan clustering partition
classify classifier predict label model train classification estimator logistic
regress regression predict linear ridge lasso coefficient
embed embedding llm prompt complete completion chat generate token model answer summarize summary
image picture photo pixel resize thumbnail draw render
audio sound speech voice
date time datetime timestamp clock calendar day iso8601 hour minute timezone strptime
sleep wait delay pause timeout timer
thread lock mutex semaphore concurrent parallel pool worker executor
process subprocess command shell spawn execute program run child system exec
async await coroutine task future gather event loop
retry attempt backoff repeat again reconnect resend
cache memoize lru memo remember
queue message broker topic consumer producer enqueue dequeue
sql database query table select cursor execute statement row record relational transaction
insert update upsert commit modify
user account login auth authenticate password credential authorize permission identity
pay payment charge invoice bill refund checkout order purchase card
price cost amount money currency quote fee rate
email mail smtp mailbox imap inbox sms message
log logging logger record trace audit
check validate verify assert test ensure valid predicate
convert transform translate cast map coerce
text string str character unicode words sentence paragraph line
template substitute placeholder render format interpolate fill wrap
difference diff compare delta similarity ratio match distance
equal same compare identical
tree node graph edge parent child ancestor
prime factorial gcd lcm divisor integer arithmetic combination permutation
sine cosine sin cos tan trigonometric angle radians arc
exponential logarithm log exp power sqrt square
round ceil floor truncate integer
pickle object instance attribute class
deep shallow recursive nested
temperature heating cooling hvac thermostat sensor humidity energy
stock inventory product catalog warehouse item
customer client buyer shopper
map location geo latitude longitude geocode route distance
weather forecast climate
start begin open launch boot
stop end close shutdown terminate kill finish
first initial head front
last tail end final
byte bytes buffer memory binary raw
stream chunk iterator generator lazily
temporary tmp temp scratch
unique distinct dedupe set duplicate
html markup tag element xml escape
import module package loader
inspect introspect signature source frame
environment variable env getenv
argument option flag parser parameter cli
error exception failure raise warning traceback
"""


@cache
def notions() -> dict[str, tuple[int, ...]]:
    """Of each stem the numbers of its notions."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(NOTIONS.strip().splitlines()):
        for each in {stem(word) for word in line.split()}:
            found.setdefault(each, []).append(number)
    return {each: tuple(numbers) for each, numbers in found.items()}
