// Command go-ledger reads, judges and writes transparency logs with code that is not Writ's: Tessera (the tlog-tiles
// implementation of the transparency-dev project), its Merkle proofs, and golang.org/x/mod/sumdb, on which Go's own
// checksum database stands.
//
//	go-ledger verify DIR VKEY                    the whole log: signature, root, every tile, inclusion, consistency
//	go-ledger proof DIR VKEY FILE.tlog-proof     a receipt of an entry of the log in DIR, checked offline
//	go-ledger write DIR ORIGIN COUNT [POLICY]    writes a log of COUNT entries; with a policy its witnesses are asked;
//	                                             prints the verifier key; signs with $GO_LEDGER_KEY where it is set
//	go-ledger key ORIGIN                         makes a key: prints the signer, then the verifier
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "verify":
		return verify(ctx, args[1], args[2])
	case len(args) == 4 && args[0] == "proof":
		return receipt(ctx, args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "key":
		secret, public, err := note.GenerateKey(nil, args[1])
		if err == nil {
			fmt.Printf("%s\n%s\n", secret, public)
		}
		return err
	case (len(args) == 4 || len(args) == 5) && args[0] == "write":
		policy := ""
		if len(args) == 5 {
			policy = args[4]
		}
		return write(ctx, args[1], args[2], args[3], policy)
	}
	fmt.Fprintln(os.Stderr, "usage: go-ledger verify DIR VKEY | proof DIR VKEY FILE | write DIR ORIGIN COUNT [POLICY]")
	os.Exit(2)
	return nil
}

// opened is a log whose checkpoint has a good signature.
type opened struct {
	fetch    client.FileFetcher
	verifier note.Verifier
	size     uint64
	root     []byte
}

func open(ctx context.Context, dir, vkey string) (*opened, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	fetch := client.FileFetcher{Root: dir}
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetch.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &opened{fetch, verifier, checkpoint.Size, checkpoint.Hash}, nil
}

// entry gives the bytes of one entry, from its bundle.
func (o *opened) entry(ctx context.Context, index uint64) ([]byte, error) {
	bundle, err := client.GetEntryBundle(ctx, o.fetch.ReadEntryBundle, index/256, o.size)
	if err != nil {
		return nil, err
	}
	if index%256 >= uint64(len(bundle.Entries)) {
		return nil, fmt.Errorf("bundle %d ends before entry %d", index/256, index)
	}
	return bundle.Entries[index%256], nil
}

func leaves(bundle []byte) ([][]byte, error) {
	parsed := api.EntryBundle{}
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(parsed.Entries))
	for _, entry := range parsed.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func verify(ctx context.Context, dir, vkey string) error {
	log, err := open(ctx, dir, vkey)
	if err != nil {
		return err
	}
	// Tessera: the root and every tile, rebuilt from the entries.
	if err := fsck.New(log.verifier.Name(), log.verifier, log.fetch, leaves, fsck.Opts{N: 2}).Check(ctx); err != nil {
		return fmt.Errorf("tiles: %w", err)
	}
	// Go's checksum database: the root once more, by other code.
	var hashes memory
	for index := uint64(0); index < log.size; index++ {
		entry, err := log.entry(ctx, index)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		stored, err := tlog.StoredHashes(int64(index), entry, hashes)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		hashes = append(hashes, stored...)
	}
	root, err := tlog.TreeHash(int64(log.size), hashes)
	if err != nil {
		return err
	}
	if !bytes.Equal(root[:], log.root) {
		return fmt.Errorf("root: the entries give %x, the checkpoint says %x", root, log.root)
	}
	builder, err := client.NewProofBuilder(ctx, log.size, log.fetch.ReadTile)
	if err != nil {
		return err
	}
	inclusions, consistencies := 0, 0
	step := max(1, log.size/97)
	for index := uint64(0); index < log.size; index += step {
		path, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return fmt.Errorf("inclusion of %d: %w", index, err)
		}
		entry, err := log.entry(ctx, index)
		if err != nil {
			return err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(entry)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, log.size, leaf, path, log.root); err != nil {
			return fmt.Errorf("inclusion of %d: %w", index, err)
		}
		inclusions++
		if index == 0 {
			continue
		}
		older, err := tlog.TreeHash(int64(index), hashes)
		if err != nil {
			return err
		}
		path, err = builder.ConsistencyProof(ctx, index, log.size)
		if err != nil {
			return fmt.Errorf("consistency with %d: %w", index, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, index, log.size, path, older[:], log.root); err != nil {
			return fmt.Errorf("consistency with %d: %w", index, err)
		}
		consistencies++
	}
	fmt.Printf("agrees: %s size %d root %s, %d inclusions, %d consistencies\n", log.verifier.Name(), log.size, base64.StdEncoding.EncodeToString(log.root), inclusions, consistencies)
	return nil
}

// memory keeps the stored hashes of a log, in tlog's order.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		if index >= int64(len(m)) {
			return nil, fmt.Errorf("hash %d is not stored", index)
		}
		found = append(found, m[index])
	}
	return found, nil
}

// receipt checks a c2sp.org/tlog-proof file with nothing but sumdb's note and tlog.
func receipt(ctx context.Context, dir, vkey, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a c2sp.org/tlog-proof@v1")
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return errors.New("no index line")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	checkpoint, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	body := strings.Split(checkpoint.Text, "\n")
	if len(body) < 3 || body[0] != verifier.Name() {
		return errors.New("the checkpoint is of another log")
	}
	size, err := strconv.ParseInt(body[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(body[2])
	if err != nil {
		return err
	}
	log, err := open(ctx, dir, vkey)
	if err != nil {
		return err
	}
	entry, err := log.entry(ctx, uint64(index))
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(path, size, root, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("agrees: entry %d is in the log of size %d\n", index, size)
	return nil
}

func write(ctx context.Context, dir, origin, count, policy string) error {
	number, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(nil, origin)
	if err != nil {
		return err
	}
	if given := os.Getenv("GO_LEDGER_KEY"); given != "" {
		secret, public = given, "signed with the key that was given"
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(100*time.Millisecond).WithBatching(256, 50*time.Millisecond)
	if policy != "" {
		text, err := os.ReadFile(policy)
		if err != nil {
			return err
		}
		group, err := tessera.NewWitnessGroupFromPolicy(text)
		if err != nil {
			return err
		}
		options = options.WithWitnesses(group, nil)
	}
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	for i := range number {
		// The form of Writ's entries; Tessera does not mind.
		payload := base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(sum(i))))
		entry := fmt.Sprintf(`{"envelope":{"payload":"%s","payloadType":"application/vnd.in-toto+json","signatures":[]},"recordedAt":%d,"v":1}`, payload, 1_790_000_000_000_000+i)
		if _, err := appender.Add(ctx, tessera.NewEntry([]byte(entry)))(); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	fmt.Println(public)
	return nil
}

func sum(i int) []byte {
	hash := sha256.Sum256([]byte(strconv.Itoa(i)))
	return hash[:]
}
