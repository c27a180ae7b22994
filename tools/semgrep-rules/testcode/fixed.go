// Package testcode: the same program without the faults; no rule may find anything here.
package testcode

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"fmt"
	"html"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
)

func find(db *sql.DB, name string) {
	db.Query("select * from payment where name = ?", name)
	db.Exec("delete from payment where name = ?", name)
}

func archive(name string) error {
	return exec.Command("gzip", "--", name).Run()
}

func statement(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.URL.Query().Get("name"))
	data, _ := os.ReadFile("statements/" + name)
	fmt.Fprintf(w, "<h1>%s</h1>", html.EscapeString(r.URL.Query().Get("name")))
	_ = data
}

func back(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, localPath(r.FormValue("to")), http.StatusFound)
}

func proxy(r *http.Request) {
	http.Get(allowedHost(r.FormValue("url")))
}

func secrets() string {
	sum := sha256.Sum256([]byte("x"))
	return fmt.Sprint(sum, rand.Text())
}

func client() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
}
